"""What a user reads during a training: logs, TensorBoard, advice."""
