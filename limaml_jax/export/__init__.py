"""From a trained model to what scores with it: a program, and a bundle."""
