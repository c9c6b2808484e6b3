"""Ray actors: provers, auditor, model server, learner. Each is a thin shell around a part that knows nothing of Ray."""
