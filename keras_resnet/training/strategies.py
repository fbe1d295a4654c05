"""The names of the ways to train on several devices. `distribute` has the ways; this table needs no Keras."""

STRATEGIES = {
    "auto": "what the machine has: several devices together, several machines where TF_CONFIG names them",
    "one": "one device",
    "mirrored": "all devices of this machine (TensorFlow)",
    "multi_worker": "the machines that TF_CONFIG names (TensorFlow)",
    "tpu": "the TPU that TPU_NAME names, or the local one (TensorFlow)",
    "data_parallel": "all devices, of several processes where KERAS_DISTRIBUTION_JOB_ADDRESSES is set (JAX)",
}
