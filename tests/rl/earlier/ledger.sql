BEGIN TRANSACTION;
CREATE TABLE attempts (
  id integer primary key, phase text not null, theorem text not null, spec text not null, outcome text not null,
  lean_calls integer not null, calls_to_solve integer, seconds real not null, script text, reason text not null,
  axioms text not null, premises text not null, model_version integer not null, lean text not null, stats text not null,
  at real not null, unique (phase, theorem));
INSERT INTO "attempts" VALUES(1,'held-out portfolio','held_swap','{"name": "held_swap", "statement": "(p q : Prop) (h : p ∧ q) : q ∧ p", "library": null, "imports": ["Init"], "context": "", "source": ""}','proved',5,3,0.5,'exact ⟨h.2, h.1⟩','','[]','[]',0,'Lean 4.28.0-pre (embedded)','{}',1.7958803155818216801e+09);
INSERT INTO "attempts" VALUES(2,'held-out portfolio','held_add_zero''','{"name": "held_add_zero''", "statement": "(n : Nat) : n + 0 = n", "library": null, "imports": ["Init"], "context": "", "source": ""}','proved',6,3,0.5,'simp','','[]','["Nat.add_zero"]',0,'Lean 4.28.0-pre (embedded)','{}',1.79588031558190011974e+09);
INSERT INTO "attempts" VALUES(3,'held-out portfolio','held_wrong','{"name": "held_wrong", "statement": "(n : Nat) : n = n + 1", "library": null, "imports": ["Init"], "context": "", "source": ""}','exhausted',7,NULL,0.5,NULL,'','[]','[]',0,'Lean 4.28.0-pre (embedded)','{}',1795880315.58194);
INSERT INTO "attempts" VALUES(4,'held-out explorer','held_swap','{"name": "held_swap", "statement": "(p q : Prop) (h : p ∧ q) : q ∧ p", "library": null, "imports": ["Init"], "context": "", "source": ""}','proved',5,3,0.5,'exact ⟨h.2, h.1⟩','','[]','[]',0,'Lean 4.28.0-pre (embedded)','{}',1.79588031558197808263e+09);
INSERT INTO "attempts" VALUES(5,'held-out explorer','held_add_zero''','{"name": "held_add_zero''", "statement": "(n : Nat) : n + 0 = n", "library": null, "imports": ["Init"], "context": "", "source": ""}','proved',6,3,0.5,'simp','','[]','["Nat.add_zero"]',0,'Lean 4.28.0-pre (embedded)','{}',1.79588031558200979234e+09);
INSERT INTO "attempts" VALUES(6,'held-out explorer','held_wrong','{"name": "held_wrong", "statement": "(n : Nat) : n = n + 1", "library": null, "imports": ["Init"], "context": "", "source": ""}','exhausted',7,NULL,0.5,NULL,'','[]','[]',0,'Lean 4.28.0-pre (embedded)','{}',1.7958803155820505619e+09);
INSERT INTO "attempts" VALUES(7,'round 1','swap','{"name": "swap", "statement": "(p q : Prop) (h : p ∧ q) : q ∧ p", "library": null, "imports": ["Init"], "context": "", "source": ""}','proved',5,3,0.5,'exact ⟨h.2, h.1⟩','','[]','[]',0,'Lean 4.28.0-pre (embedded)','{}',1.79588031558208608621e+09);
INSERT INTO "attempts" VALUES(8,'round 1','add_zero''','{"name": "add_zero''", "statement": "(n : Nat) : n + 0 = n", "library": null, "imports": ["Init"], "context": "", "source": ""}','proved',6,3,0.5,'simp','','[]','["Nat.add_zero"]',0,'Lean 4.28.0-pre (embedded)','{}',1.79588031559124207498e+09);
INSERT INTO "attempts" VALUES(9,'round 1','wrong','{"name": "wrong", "statement": "(n : Nat) : n = n + 1", "library": null, "imports": ["Init"], "context": "", "source": ""}','exhausted',7,NULL,0.5,NULL,'','[]','[]',0,'Lean 4.28.0-pre (embedded)','{}',1.79588031559131407742e+09);
INSERT INTO "attempts" VALUES(10,'held-out model','held_swap','{"name": "held_swap", "statement": "(p q : Prop) (h : p ∧ q) : q ∧ p", "library": null, "imports": ["Init"], "context": "", "source": ""}','proved',5,3,0.5,'exact ⟨h.2, h.1⟩','','[]','[]',0,'Lean 4.28.0-pre (embedded)','{}',1.79588031559135365483e+09);
INSERT INTO "attempts" VALUES(11,'held-out model','held_add_zero''','{"name": "held_add_zero''", "statement": "(n : Nat) : n + 0 = n", "library": null, "imports": ["Init"], "context": "", "source": ""}','proved',6,3,0.5,'simp','','[]','["Nat.add_zero"]',0,'Lean 4.28.0-pre (embedded)','{}',1.79588031559138512618e+09);
INSERT INTO "attempts" VALUES(12,'held-out model','held_wrong','{"name": "held_wrong", "statement": "(n : Nat) : n = n + 1", "library": null, "imports": ["Init"], "context": "", "source": ""}','exhausted',7,NULL,0.5,NULL,'','[]','[]',0,'Lean 4.28.0-pre (embedded)','{}',1.79588031559816551207e+09);
CREATE TABLE examples (
  id integer primary key, attempt integer not null references attempts (id), kind text not null, data text not null);
INSERT INTO "examples" VALUES(1,7,'policy','{"state": "n : Nat\n⊢ n + 0 = n", "tactics": [["simp", 1.0]], "premises": [], "round": 1}');
INSERT INTO "examples" VALUES(2,8,'policy','{"state": "n : Nat\n⊢ n + 0 = n", "tactics": [["simp", 1.0]], "premises": [], "round": 1}');
CREATE TABLE measurements (id integer primary key, phase text not null, name text not null, value real,
  at real not null);
CREATE TABLE meta (key text primary key, value text not null);
INSERT INTO "meta" VALUES('format','1');
INSERT INTO "meta" VALUES('learned 1','{"version": 1}');
INSERT INTO "meta" VALUES('seconds','12.5');
COMMIT;
