"""What `Forecaster.fit` does, from its options to a fitted model; `fitting.learn` calls each step.

1. `plan`: the options, checked, and what a fit learns.
2. `data`: the frames, split; `examples`: windows to learn from, of a panel or of shards;
   `batching`: batches of them.
3. `loop`: the training itself, on Lightning, which is imported with it; `optim`: its optimizer;
   `pretraining`: the same by what is hidden of contexts.
4. `ladder`: which answers, a baseline, the linear forecast or the trained network.
5. `held_out`: what held-out windows say of it (`newcomers`: of series that were never observed);
   `report`: what the user is shown of that.
"""
