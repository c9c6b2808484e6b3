import Turnstile.Step

/-! Decide by its syntax tree that a text runs no code of its own during elaboration: every kind of node in it is on a list of kinds
that were reviewed one by one. None of them defines a constant that Lean compiles, sets an option, or evaluates a term, as
configurations do. -/

open Lean

set_option compiler.small 0

namespace Turnstile

def inertKinds : List String :=
  ["Lean.Elab.Tactic.Ext.ext ¦ Lean.Parser.Attr.grindBwd ¦ Lean.Parser.Attr.grindEq ¦ Lean.Parser.Attr.grindMod ¦ ",
   "Lean.Parser.Command.declId ¦ Lean.Parser.Command.declModifiers ¦ Lean.Parser.Command.declSig ¦ ",
   "Lean.Parser.Command.declValSimple ¦ Lean.Parser.Command.declaration ¦ Lean.Parser.Command.eoi ¦ ",
   "Lean.Parser.Command.openSimple ¦ Lean.Parser.Command.theorem ¦ Lean.Parser.Level.addLit ¦ Lean.Parser.Level.hole ¦ ",
   "Lean.Parser.Level.imax ¦ Lean.Parser.Level.max ¦ Lean.Parser.Level.num ¦ Lean.Parser.Level.paren ¦ ",
   "Lean.Parser.Tactic.Conv.arg ¦ Lean.Parser.Tactic.Conv.argArg ¦ Lean.Parser.Tactic.Conv.congr ¦ ",
   "Lean.Parser.Tactic.Conv.conv ¦ Lean.Parser.Tactic.Conv.convDone ¦ Lean.Parser.Tactic.Conv.convRfl ¦ ",
   "Lean.Parser.Tactic.Conv.convRw__ ¦ Lean.Parser.Tactic.Conv.convSeq ¦ Lean.Parser.Tactic.Conv.convSeq1Indented ¦ ",
   "Lean.Parser.Tactic.Conv.enter ¦ Lean.Parser.Tactic.Conv.enterArg ¦ Lean.Parser.Tactic.Conv.ext ¦ ",
   "Lean.Parser.Tactic.Conv.lhs ¦ Lean.Parser.Tactic.Conv.nestedConv ¦ Lean.Parser.Tactic.Conv.rhs ¦ ",
   "Lean.Parser.Tactic.Conv.simp ¦ Lean.Parser.Tactic.Conv.unfold ¦ Lean.Parser.Tactic.acRfl ¦ Lean.Parser.Tactic.allGoals ¦ ",
   "Lean.Parser.Tactic.anyGoals ¦ Lean.Parser.Tactic.apply ¦ Lean.Parser.Tactic.apply? ¦ Lean.Parser.Tactic.assumption ¦ ",
   "Lean.Parser.Tactic.case ¦ Lean.Parser.Tactic.case' ¦ Lean.Parser.Tactic.caseArg ¦ Lean.Parser.Tactic.cases ¦ ",
   "Lean.Parser.Tactic.change ¦ Lean.Parser.Tactic.clear ¦ Lean.Parser.Tactic.configItem ¦ Lean.Parser.Tactic.congr ¦ ",
   "Lean.Parser.Tactic.constructor ¦ Lean.Parser.Tactic.contradiction ¦ Lean.Parser.Tactic.decide ¦ ",
   "Lean.Parser.Tactic.delta ¦ Lean.Parser.Tactic.discharger ¦ Lean.Parser.Tactic.done ¦ Lean.Parser.Tactic.dsimp ¦ ",
   "Lean.Parser.Tactic.elimTarget ¦ Lean.Parser.Tactic.eqRefl ¦ Lean.Parser.Tactic.exact ¦ Lean.Parser.Tactic.exact? ¦ ",
   "Lean.Parser.Tactic.fail ¦ Lean.Parser.Tactic.falseOrByContra ¦ Lean.Parser.Tactic.first ¦ Lean.Parser.Tactic.focus ¦ ",
   "Lean.Parser.Tactic.funCases ¦ Lean.Parser.Tactic.funInduction ¦ Lean.Parser.Tactic.generalize ¦ ",
   "Lean.Parser.Tactic.generalizeArg ¦ Lean.Parser.Tactic.grind ¦ Lean.Parser.Tactic.grindLemma ¦ ",
   "Lean.Parser.Tactic.grindParam ¦ Lean.Parser.Tactic.induction ¦ Lean.Parser.Tactic.inductionAlt ¦ ",
   "Lean.Parser.Tactic.inductionAltLHS ¦ Lean.Parser.Tactic.inductionAlts ¦ Lean.Parser.Tactic.injection ¦ ",
   "Lean.Parser.Tactic.injections ¦ Lean.Parser.Tactic.intro ¦ Lean.Parser.Tactic.intros ¦ Lean.Parser.Tactic.left ¦ ",
   "Lean.Parser.Tactic.location ¦ Lean.Parser.Tactic.locationHyp ¦ Lean.Parser.Tactic.locationType ¦ ",
   "Lean.Parser.Tactic.locationWildcard ¦ Lean.Parser.Tactic.match ¦ Lean.Parser.Tactic.negConfigItem ¦ ",
   "Lean.Parser.Tactic.obtain ¦ Lean.Parser.Tactic.omega ¦ Lean.Parser.Tactic.open ¦ Lean.Parser.Tactic.optConfig ¦ ",
   "Lean.Parser.Tactic.paren ¦ Lean.Parser.Tactic.posConfigItem ¦ Lean.Parser.Tactic.pushCast ¦ Lean.Parser.Tactic.rcases ¦ ",
   "Lean.Parser.Tactic.rcasesPat.clear ¦ Lean.Parser.Tactic.rcasesPat.explicit ¦ Lean.Parser.Tactic.rcasesPat.ignore ¦ ",
   "Lean.Parser.Tactic.rcasesPat.one ¦ Lean.Parser.Tactic.rcasesPat.paren ¦ Lean.Parser.Tactic.rcasesPat.tuple ¦ ",
   "Lean.Parser.Tactic.rcasesPat.typed ¦ Lean.Parser.Tactic.rcasesPatLo ¦ Lean.Parser.Tactic.rcasesPatMed ¦ ",
   "Lean.Parser.Tactic.refine ¦ Lean.Parser.Tactic.refine' ¦ Lean.Parser.Tactic.rename ¦ Lean.Parser.Tactic.renameI ¦ ",
   "Lean.Parser.Tactic.repeat' ¦ Lean.Parser.Tactic.replace ¦ Lean.Parser.Tactic.revert ¦ Lean.Parser.Tactic.rewriteSeq ¦ ",
   "Lean.Parser.Tactic.right ¦ Lean.Parser.Tactic.rintro ¦ Lean.Parser.Tactic.rintroPat.binder ¦ ",
   "Lean.Parser.Tactic.rintroPat.one ¦ Lean.Parser.Tactic.rotateLeft ¦ Lean.Parser.Tactic.rotateRight ¦ ",
   "Lean.Parser.Tactic.rwRule ¦ Lean.Parser.Tactic.rwRuleSeq ¦ Lean.Parser.Tactic.rwSeq ¦ Lean.Parser.Tactic.show ¦ ",
   "Lean.Parser.Tactic.showTerm ¦ Lean.Parser.Tactic.simp ¦ Lean.Parser.Tactic.simpAll ¦ Lean.Parser.Tactic.simpArith ¦ ",
   "Lean.Parser.Tactic.simpAutoUnfold ¦ Lean.Parser.Tactic.simpErase ¦ Lean.Parser.Tactic.simpLemma ¦ ",
   "Lean.Parser.Tactic.simpStar ¦ Lean.Parser.Tactic.simpTrace ¦ Lean.Parser.Tactic.simpTraceArgsRest ¦ ",
   "Lean.Parser.Tactic.simpa ¦ Lean.Parser.Tactic.simpaArgsRest ¦ Lean.Parser.Tactic.skip ¦ Lean.Parser.Tactic.solveByElim ¦ ",
   "Lean.Parser.Tactic.specialize ¦ Lean.Parser.Tactic.split ¦ Lean.Parser.Tactic.subst ¦ Lean.Parser.Tactic.substVars ¦ ",
   "Lean.Parser.Tactic.symm ¦ Lean.Parser.Tactic.tacDepIfThenElse ¦ Lean.Parser.Tactic.tacticAc_nf_ ¦ ",
   "Lean.Parser.Tactic.tacticAnd_intros ¦ Lean.Parser.Tactic.tacticAssumption_mod_cast_ ¦ Lean.Parser.Tactic.tacticErw___ ¦ ",
   "Lean.Parser.Tactic.tacticExact_mod_cast_ ¦ Lean.Parser.Tactic.tacticExfalso ¦ Lean.Parser.Tactic.tacticHaveI__ ¦ ",
   "Lean.Parser.Tactic.tacticHave__ ¦ Lean.Parser.Tactic.tacticInfer_instance ¦ Lean.Parser.Tactic.tacticIterate____ ¦ ",
   "Lean.Parser.Tactic.tacticLetI__ ¦ Lean.Parser.Tactic.tacticLet__ ¦ Lean.Parser.Tactic.tacticNofun ¦ ",
   "Lean.Parser.Tactic.tacticNorm_cast__ ¦ Lean.Parser.Tactic.tacticRepeat_ ¦ Lean.Parser.Tactic.tacticRfl ¦ ",
   "Lean.Parser.Tactic.tacticRwa__ ¦ Lean.Parser.Tactic.tacticSeq ¦ Lean.Parser.Tactic.tacticSeq1Indented ¦ ",
   "Lean.Parser.Tactic.tacticSeqBracketed ¦ Lean.Parser.Tactic.tacticShow_ ¦ Lean.Parser.Tactic.tacticSorry ¦ Lean.Parser.Tactic.tacticSuffices_ ¦ ",
   "Lean.Parser.Tactic.tacticTrivial ¦ Lean.Parser.Tactic.tacticTry_ ¦ Lean.Parser.Tactic.unfold ¦ ",
   "Lean.Parser.Tactic.«tacticExists_,,» ¦ Lean.Parser.Tactic.«tacticNext_=>_» ¦ Lean.Parser.Tactic.«tacticNomatch_,,» ¦ ",
   "Lean.Parser.Tactic.«tactic_<;>_» ¦ Lean.Parser.Term.anonymousCtor ¦ Lean.Parser.Term.app ¦ Lean.Parser.Term.arrow ¦ ",
   "Lean.Parser.Term.attrKind ¦ Lean.Parser.Term.basicFun ¦ Lean.Parser.Term.byTactic ¦ Lean.Parser.Term.byTactic' ¦ ",
   "Lean.Parser.Term.cdot ¦ Lean.Parser.Term.depArrow ¦ Lean.Parser.Term.dotIdent ¦ Lean.Parser.Term.explicit ¦ ",
   "Lean.Parser.Term.explicitBinder ¦ Lean.Parser.Term.explicitUniv ¦ Lean.Parser.Term.forall ¦ Lean.Parser.Term.fromTerm ¦ ",
   "Lean.Parser.Term.fun ¦ Lean.Parser.Term.have ¦ Lean.Parser.Term.haveI ¦ Lean.Parser.Term.hole ¦ ",
   "Lean.Parser.Term.hygienicLParen ¦ Lean.Parser.Term.implicitBinder ¦ Lean.Parser.Term.instBinder ¦ Lean.Parser.Term.let ¦ ",
   "Lean.Parser.Term.letConfig ¦ Lean.Parser.Term.letDecl ¦ Lean.Parser.Term.letEqnsDecl ¦ Lean.Parser.Term.letI ¦ ",
   "Lean.Parser.Term.letId ¦ Lean.Parser.Term.letIdDecl ¦ Lean.Parser.Term.letPatDecl ¦ Lean.Parser.Term.match ¦ ",
   "Lean.Parser.Term.matchAlt ¦ Lean.Parser.Term.matchAlts ¦ Lean.Parser.Term.matchDiscr ¦ Lean.Parser.Term.namedArgument ¦ ",
   "Lean.Parser.Term.nofun ¦ Lean.Parser.Term.nomatch ¦ Lean.Parser.Term.open ¦ Lean.Parser.Term.optEllipsis ¦ ",
   "Lean.Parser.Term.paren ¦ Lean.Parser.Term.pipeCompletion ¦ Lean.Parser.Term.pipeProj ¦ Lean.Parser.Term.proj ¦ ",
   "Lean.Parser.Term.prop ¦ Lean.Parser.Term.show ¦ Lean.Parser.Term.sorry ¦ Lean.Parser.Term.sort ¦ ",
   "Lean.Parser.Term.strictImplicitBinder ¦ Lean.Parser.Term.structInst ¦ Lean.Parser.Term.structInstField ¦ ",
   "Lean.Parser.Term.structInstFieldDef ¦ Lean.Parser.Term.structInstFields ¦ Lean.Parser.Term.structInstLVal ¦ ",
   "Lean.Parser.Term.subst ¦ Lean.Parser.Term.suffices ¦ Lean.Parser.Term.sufficesDecl ¦ Lean.Parser.Term.syntheticHole ¦ ",
   "Lean.Parser.Term.tuple ¦ Lean.Parser.Term.type ¦ Lean.Parser.Term.typeAscription ¦ Lean.Parser.Term.typeSpec ¦ ",
   "Lean.Parser.Termination.suffix ¦ Lean.binderIdent ¦ Lean.bracketedExplicitBinders ¦ Lean.calcFirstStep ¦ Lean.calcStep ¦ ",
   "Lean.calcSteps ¦ Lean.calcTactic ¦ Lean.cdot ¦ Lean.cdotTk ¦ Lean.explicitBinders ¦ Lean.unbracketedExplicitBinders ¦ ",
   "Lean.«binderPred<_» ¦ Lean.«binderPred>_» ¦ Lean.«binderPred∈_» ¦ Lean.«binderPred≠_» ¦ Lean.«binderPred≤_» ¦ ",
   "Lean.«binderPred≥_» ¦ Lean.«term∀__,_» ¦ Lean.«term∃__,_» ¦ char ¦ choice ¦ fieldIdx ¦ group ¦ hygieneInfo ¦ null ¦ num ¦ ",
   "patternIgnore ¦ scientific ¦ str ¦ tacticDecreasing_tactic ¦ tacticFunext___ ¦ tacticSimp_wf ¦ term!_ ¦ ",
   "termDepIfThenElse ¦ termIfThenElse ¦ token.disch ¦ token.«· » ¦ token.«← » ¦ token.«←» ¦ token.«⊢» ¦ ",
   "«tacticBy_cases_:_» ¦ «term#[_,]» ¦ «term-_» ¦ «term[_]» ¦ «term_!=_» ¦ «term_%_» ¦ «term_&&&_» ¦ «term_&&_» ¦ ",
   "«term_*_» ¦ «term_++_» ¦ «term_+_» ¦ «term_-_» ¦ «term_/_» ¦ «term_::_» ¦ «term_<<<_» ¦ «term_<_» ¦ «term_<|_» ¦ ",
   "«term_==_» ¦ «term_=_» ¦ «term_>_» ¦ «term_^^^_» ¦ «term_^_» ¦ «term__[_]'_» ¦ «term__[_]_!» ¦ «term__[_]_?» ¦ ",
   "«term__[_]» ¦ «term_|>_» ¦ «term_||_» ¦ «term_|||_» ¦ «term_×_» ¦ «term_⁻¹» ¦ «term_↔_» ¦ «term_∈_» ¦ «term_∘_» ¦ ",
   "«term_∣_» ¦ «term_∧_» ¦ «term_∨_» ¦ «term_≈_» ¦ «term_≠_» ¦ «term_≤_» ¦ «term_≥_» ¦ «term{_:_//_}» ¦ «term{_}» ¦ ",
   "«term~~~_» ¦ «term¬_» ¦ «termΣ_,_» ¦ «term‹_›» ¦ «term∃_,_» ¦ "]

/-- Further kinds in what stands before a theorem: scopes and inductive types, for which Lean generates and compiles only code of its
own, and no definitions, whose compiled code `Lean.reduceBool` would run. A parent of a structure would make definitions of its defaults. -/
def contextKinds : List String :=
  ["Lean.Parser.Command.classTk ¦ Lean.Parser.Command.ctor ¦ Lean.Parser.Command.end ¦ ",
   "Lean.Parser.Command.inductive ¦ Lean.Parser.Command.namespace ¦ Lean.Parser.Command.open ¦ Lean.Parser.Command.openHiding ¦ ",
   "Lean.Parser.Command.openOnly ¦ Lean.Parser.Command.optDeclSig ¦ Lean.Parser.Command.optDeriving ¦ ",
   "Lean.Parser.Command.section ¦ Lean.Parser.Command.sectionHeader ¦ Lean.Parser.Command.structCtor ¦ ",
   "Lean.Parser.Command.structExplicitBinder ¦ Lean.Parser.Command.structFields ¦ Lean.Parser.Command.structImplicitBinder ¦ ",
   "Lean.Parser.Command.structSimpleBinder ¦ Lean.Parser.Command.structure ¦ ",
   "Lean.Parser.Command.structureTk ¦ Lean.Parser.Command.universe ¦ Lean.Parser.Command.variable ¦ "]

def setOf (ks : List String) (acc : NameSet) : NameSet :=
  match ks with
  | [] => acc
  | k :: rest => setOf rest (if k.isEmpty then acc else acc.insert k.toName)

def linesOf (ls : List String) (acc : NameSet) : NameSet :=
  match ls with
  | [] => acc
  | l :: rest => linesOf rest (setOf (l.splitOn " ¦ ") acc)

def inertSet : NameSet := linesOf inertKinds {}

def inertContextSet : NameSet := linesOf contextKinds inertSet

/-- Whether a switch like `+native` makes Lean run compiled code. -/
def compiles (args : List Syntax) : Bool := anyOf (fun a => a.getId == `native) args

/-- Kinds of nodes in `stx` that are not in `kinds`, each once. -/
partial def otherKinds (kinds : NameSet) (stx : Syntax) (acc : List Name) : List Name :=
  match stx with
  | .node _ k args =>
    let known := kinds.contains k && !(k == `Lean.Parser.Tactic.posConfigItem && compiles args.toList)
    all args.toList (if known || hasName k acc then acc else k :: acc)
  | .missing => if hasName `missing acc then acc else `missing :: acc
  | _ => acc
where
  all (xs : List Syntax) (acc : List Name) : List Name :=
    match xs with
    | [] => acc
    | x :: rest => all rest (otherKinds kinds x acc)

/-- Kinds in `stx` that may run code; empty if it runs none. -/
def notInert (stx : Syntax) : List Name := otherKinds inertSet stx []

end Turnstile
