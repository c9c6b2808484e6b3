"""Reinforcement learning: training, evaluation and benchmarks."""
