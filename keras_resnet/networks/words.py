"""Words that other libraries have for something, and what to do here: in place of the field whose spelling is nearest."""


def field(name: str, more: str = "") -> str:
    """The word is another one here."""
    return f"use {name}{more}"


DECAY = "it is part of the training: set weight_decay of the optimizer or of a kr.Recipe"
FREEZE = "call kr.transfer.freeze(model, up_to=...) after building; the statistics of BatchNormalization are frozen too"
CHANNELS = (
    "networks are channels last only, as TensorFlow on a CPU and TFLite are: move the channels with np.moveaxis(images, 1, -1), "
    "and use input_shape=(height, width, channels)"
)
DILATION = field("output_stride", "=16 or 8: later stages are dilated")
MAPS = field("features", "=(2, 3, 4, 5) of kr.build, which gives a dictionary 'C2' to 'C5'")
PRETRAINED = field("weights", " of kr.build: a file, 'imagenet', 'tiny-imagenet', or owner/name of the Hugging Face Hub")
OWN_BLOCK = (
    "use block='basic', 'bottleneck' or 'single'; with a function of your own, write the stages in Keras: kr.build(features=(1,)) "
    "gives the stem without its pooling, and kr.identity_block and kr.projection_block are units for any functional model"
)
STOCHASTIC = field("stochastic_depth")
WORDS = {
    **dict.fromkeys(
        ("num_classes", "n_classes", "nb_classes", "n_class", "num_labels", "output_dim", "num_outputs"), field("classes")
    ),
    **dict.fromkeys(("num_blocks", "blocks", "repetitions", "stackwise_num_blocks", "layers", "num_layers"), field("depths")),
    **dict.fromkeys(
        ("filters", "num_filters", "nb_filters", "base_filters", "hidden_sizes", "stackwise_num_filters"), field("widths")
    ),
    **dict.fromkeys(("width_multiplier", "width_factor", "alpha", "k"), field("widths", ", the filters of each stage")),
    **dict.fromkeys(
        ("image_shape", "image_size", "img_size", "input_size", "shape"), field("input_shape", "=(height, width, channels)")
    ),
    **dict.fromkeys(
        ("in_channels", "in_chans", "input_channels", "channels", "num_channels"), "use input_shape, whose last entry it is"
    ),
    **dict.fromkeys(("data_format", "image_data_format", "channels_first"), CHANNELS),
    **dict.fromkeys(("pretrained", "preset", "checkpoint", "load_weights"), PRETRAINED),
    **dict.fromkeys(("freeze_bn", "freeze", "frozen", "freeze_norm", "trainable", "train_bn"), FREEZE),
    **dict.fromkeys(("global_pool", "global_pooling", "pool"), field("pooling", " of kr.build")),
    **dict.fromkeys(
        ("dropout", "dropout_rate", "drop_rate", "drop", "top_dropout_rate"), field("head_dropout", ", before the classifier")
    ),
    **dict.fromkeys(("drop_path", "drop_path_rate", "drop_connect_rate", "stochastic_depth_rate"), STOCHASTIC),
    **dict.fromkeys(("survival_probability", "survival_prob"), field("stochastic_depth", "=1 - survival probability")),
    "cardinality": field("groups"),
    **dict.fromkeys(("base_width", "width_per_group"), field("group_width")),
    **dict.fromkeys(("stem_type", "deep_stem"), field("stem", "='7x7', 'deep', 'tiered' or '3x3'")),
    **dict.fromkeys(("embedding_size", "input_conv_filters"), field("stem_width")),
    **dict.fromkeys(("block_type", "layer_type", "bottleneck"), field("block", "='basic', 'bottleneck' or 'single'")),
    **dict.fromkeys(("block_fn", "block_function", "custom_block", "residual_block", "block_layer"), OWN_BLOCK),
    **dict.fromkeys(
        ("use_pre_activation", "preact", "preactivation", "version", "v2"), field("activation_order", "='full_preactivation'")
    ),
    **dict.fromkeys(("avg_down", "downsample_type"), field("shortcut", "='avg_projection'")),
    **dict.fromkeys(("downsample_in_bottleneck", "stride_in_1x1"), field("stride_on", "='1x1'")),
    **dict.fromkeys(("replace_stride_with_dilation", "dilation", "dilation_rate", "atrous_rates"), DILATION),
    **dict.fromkeys(("zero_init_residual", "zero_init_last", "zero_gamma"), field("zero_init")),
    **dict.fromkeys(
        ("norm_layer", "normalization", "use_bn", "batch_norm", "batchnorm"), field("norm", "='batch', 'group' or none")
    ),
    **dict.fromkeys(("bn_momentum", "batch_norm_momentum", "momentum"), field("norm_momentum")),
    **dict.fromkeys(("bn_epsilon", "batch_norm_epsilon", "epsilon", "eps"), field("norm_epsilon")),
    **dict.fromkeys(("act_layer", "act", "hidden_act", "nonlinearity"), field("activation")),
    **dict.fromkeys(("se", "se_ratio", "squeeze_excite", "attention"), field("squeeze", ", the ratio of squeeze-and-excitation")),
    **dict.fromkeys(("blur", "aa_layer", "anti_alias"), field("antialias")),
    **dict.fromkeys(
        ("include_rescaling", "include_preprocessing", "preprocessing", "rescale", "rescaling", "mean", "std"),
        field("normalize", ": the network takes raw pixels"),
    ),
    **dict.fromkeys(("out_features", "out_indices", "features_only", "return_features", "output_stages"), MAPS),
    **dict.fromkeys(("kernel_regularizer", "l2", "l2_regularization", "weight_decay", "regularizer"), DECAY),
    **dict.fromkeys(
        ("kernel_initializer", "initializer"), "kernels start He-normal (arXiv:1502.01852); zero_init starts branches at zero"
    ),
    **dict.fromkeys(("skip_init", "skipinit", "skipinit_gain", "alpha", "rezero"), field("branch_gain", "=0")),
    **dict.fromkeys(("layer_scale", "layer_scale_init_value", "ls_init_value", "init_values"), field("branch_gain")),
    "fixup_init": field("fixup", "=true, with norm=none and zero_init=true"),
    "use_bias": "convolutions have a bias only where no normalisation follows: with norm=none, or with conv_bias=true",
    **dict.fromkeys(("top", "head"), field("include_top", " of kr.build")),
    **dict.fromkeys(("activation_top", "top_activation", "final_activation"), field("classifier_activation")),
    "head_dtype": "the classifier and its logits are float32 whatever the dtype of kr.build is; for other logits put "
    "keras.layers.Activation('linear', dtype=...) behind them",
    **dict.fromkeys(("logits", "from_logits", "return_logits"), "networks return logits unless classifier_activation is set"),
    "seed": "call keras.utils.set_random_seed before kr.build; kr.fit takes seed, the commands --seed",
    "strides": field("stage_strides"),
    **dict.fromkeys(("mixed_precision", "policy"), field("dtype", "='mixed_bfloat16' of kr.build")),
    "gradient_checkpointing": field("remat", "=True of kr.build"),
}
