"""Ray actors: provers, auditor, model servers and learners, as thin wrappers around parts that do not depend on Ray."""
