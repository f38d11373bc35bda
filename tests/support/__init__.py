"""What several tests share: writing TFLite files and running TensorFlow Lite Micro."""
