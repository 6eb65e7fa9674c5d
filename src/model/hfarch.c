/* SPDX-License-Identifier: Apache-2.0 */
/* hfarch.c - see hfarch.h */
#include "model/hfarch.h"

#include <stddef.h>

/* clang-format off */

/* ---- keys ---- */

#define END_OF_KEYS {NULL, NULL, HFKEY_U32, false, 0}

static const struct hfkey common_keys[] = {
    {"block_count", "num_hidden_layers|n_layer|n_layers|num_layers", HFKEY_U32, true, 0},
    {"context_length", "max_position_embeddings|n_positions|n_ctx", HFKEY_CONTEXT, true, 0},
    {"embedding_length", "hidden_size|n_embd", HFKEY_U32, true, 0},
    {"feed_forward_length", "intermediate_size|n_inner", HFKEY_U32, false, 0},
    {"attention.head_count", "num_attention_heads|n_head", HFKEY_U32, true, 0},
    {"attention.head_count_kv", "num_key_value_heads", HFKEY_U32, false, 0},
    {"rope.freq_base", "rope_theta|rope_parameters.rope_theta|rope_parameters.full_attention.rope_theta", HFKEY_F32, false, 0},
    {"attention.layer_norm_rms_epsilon", "rms_norm_eps", HFKEY_F32, false, 0},
    {"attention.layer_norm_epsilon", "layer_norm_eps|layer_norm_epsilon|norm_epsilon|norm_eps", HFKEY_F32, false, 0},
    END_OF_KEYS,
};

static const struct hfkey head_dim_keys[] = {
    {"attention.key_length", "head_dim", HFKEY_U32, false, 0},
    {"attention.value_length", "head_dim", HFKEY_U32, false, 0},
    END_OF_KEYS,
};

static const struct hfkey window_keys[] = {
    {"attention.sliding_window", "sliding_window", HFKEY_U32, false, 0},
    END_OF_KEYS,
};

static const struct hfkey llama_keys[] = {
    {"vocab_size", "vocab_size", HFKEY_U32, true, 0},
    {"rope.dimension_count", NULL, HFKEY_ROPE_DIMS, true, 0},
    {"attention.key_length", "head_dim", HFKEY_U32, false, 0},
    {"attention.value_length", "head_dim", HFKEY_U32, false, 0},
    {"expert_count", "num_local_experts", HFKEY_U32, false, 0},
    {"expert_used_count", "num_experts_per_tok", HFKEY_U32, false, 0},
    END_OF_KEYS,
};

static const struct hfkey olmo3_keys[] = {
    {"rope.freq_base_swa", "rope_parameters.sliding_attention.rope_theta", HFKEY_F32, false, 0},
    END_OF_KEYS,
};

static const struct hfkey granite_keys[] = {
    {"vocab_size", "vocab_size", HFKEY_U32, true, 0},
    {"rope.dimension_count", NULL, HFKEY_ROPE_DIMS, true, 0},
    {"attention.scale", "attention_multiplier", HFKEY_F32, false, 0},
    {"embedding_scale", "embedding_multiplier", HFKEY_F32, false, 0},
    {"residual_scale", "residual_multiplier", HFKEY_F32, false, 0},
    {"logit_scale", "logits_scaling", HFKEY_F32, false, 0},
    END_OF_KEYS,
};

static const struct hfkey gemma_keys[] = {
    {"attention.key_length", "head_dim", HFKEY_U32, false, 256},
    {"attention.value_length", "head_dim", HFKEY_U32, false, 256},
    END_OF_KEYS,
};

static const struct hfkey gemma2_keys[] = {
    {"attention.scale", "query_pre_attn_scalar", HFKEY_INVERSE_ROOT, false, 256},
    {"attn_logit_softcapping", "attn_logit_softcapping", HFKEY_F32, false, 50},
    {"final_logit_softcapping", "final_logit_softcapping", HFKEY_F32, false, 30},
    {"attention.sliding_window", "sliding_window", HFKEY_U32, false, 4096},
    {"attention.key_length", "head_dim", HFKEY_U32, false, 256},
    {"attention.value_length", "head_dim", HFKEY_U32, false, 256},
    END_OF_KEYS,
};

/* Where local layers rotate otherwise, rope_theta is that of the global ones.  The text part of a
 * model that sees says only what differs from a model of 4B. */
static const struct hfkey gemma3_keys[] = {
    {"attention.scale", "query_pre_attn_scalar", HFKEY_INVERSE_ROOT, false, 256},
    {"context_length", "max_position_embeddings", HFKEY_CONTEXT, false, 131072},
    {"attention.head_count", "num_attention_heads", HFKEY_U32, false, 8},
    {"attention.head_count_kv", "num_key_value_heads", HFKEY_U32, false, 4},
    {"attention.layer_norm_rms_epsilon", "rms_norm_eps", HFKEY_F32, false, 1e-6},
    {"rope.freq_base", "rope_theta|rope_parameters.full_attention.rope_theta|rope_parameters.rope_theta", HFKEY_F32, false, 1000000},
    {"rope.freq_base_swa", "rope_local_base_freq|rope_parameters.sliding_attention.rope_theta", HFKEY_F32, false, 0},
    {"attention.sliding_window", "sliding_window", HFKEY_U32, false, 4096},
    {"attention.sliding_window_pattern", "sliding_window_pattern|_sliding_window_pattern", HFKEY_U32, false, 0},
    {"attn_logit_softcapping", "attn_logit_softcapping", HFKEY_F32, false, 0},
    {"final_logit_softcapping", "final_logit_softcapping", HFKEY_F32, false, 0},
    {"attention.key_length", "head_dim", HFKEY_U32, false, 256},
    {"attention.value_length", "head_dim", HFKEY_U32, false, 256},
    END_OF_KEYS,
};

static const struct hfkey phi3_keys[] = {
    {"rope.dimension_count", NULL, HFKEY_ROPE_DIMS, true, 0},
    {"rope.scaling.original_context_length", "original_max_position_embeddings|rope_parameters.original_max_position_embeddings", HFKEY_U32, false, 0},
    {"attention.sliding_window", "sliding_window", HFKEY_U32, false, 0},
    END_OF_KEYS,
};

static const struct hfkey moe_keys[] = {
    {"expert_count", "num_experts|num_local_experts", HFKEY_U32, true, 0},
    {"expert_used_count", "num_experts_per_tok", HFKEY_U32, true, 0},
    {"expert_weights_norm", "norm_topk_prob", HFKEY_BOOL, false, 0},
    {"expert_feed_forward_length", "moe_intermediate_size", HFKEY_U32, false, 0},
    {"expert_shared_feed_forward_length", "shared_expert_intermediate_size", HFKEY_U32, false, 0},
    {"attention.key_length", "head_dim", HFKEY_U32, false, 0},
    {"attention.value_length", "head_dim", HFKEY_U32, false, 0},
    END_OF_KEYS,
};

static const struct hfkey gpt_oss_keys[] = {
    {"expert_count", "num_local_experts|num_experts", HFKEY_U32, true, 0},
    {"expert_used_count", "num_experts_per_tok|experts_per_token", HFKEY_U32, true, 0},
    {"expert_feed_forward_length", "intermediate_size", HFKEY_U32, true, 0},
    {"attention.sliding_window", "sliding_window", HFKEY_U32, false, 128},
    {"attention.key_length", "head_dim", HFKEY_U32, false, 64},
    {"attention.value_length", "head_dim", HFKEY_U32, false, 64},
    END_OF_KEYS,
};

static const struct hfkey nomic_keys[] = {
    {"context_length", NULL, HFKEY_U32, true, 2048}, /* config.json counts on scaling */
    {"rope.freq_base", "rotary_emb_base|rope_parameters.rope_theta", HFKEY_F32, false, 1000},
    END_OF_KEYS,
};

static const struct hfkey modern_bert_keys[] = {
    {"vocab_size", "vocab_size", HFKEY_U32, true, 0},
    {"rope.freq_base", "global_rope_theta|rope_parameters.full_attention.rope_theta", HFKEY_F32, false, 160000},
    {"rope.freq_base_swa", "local_rope_theta|rope_parameters.sliding_attention.rope_theta", HFKEY_F32, false, 10000},
    {"attention.sliding_window", "local_attention", HFKEY_U32, false, 128},
    {"attention.sliding_window_pattern", "global_attn_every_n_layers", HFKEY_U32, false, 3},
    END_OF_KEYS,
};

static const struct hfkey distilbert_keys[] = {
    {"embedding_length", "dim", HFKEY_U32, true, 0},
    {"attention.head_count", "n_heads", HFKEY_U32, true, 0},
    {"feed_forward_length", "hidden_dim", HFKEY_U32, true, 0},
    {"attention.layer_norm_epsilon", "layer_norm_eps", HFKEY_F32, false, 1e-12},
    END_OF_KEYS,
};

/* ---- tensors ---- */

#define END_OF_TENSORS {NULL, NULL, HFTENSOR_AS_IS}

static const struct hftensor common_tensors[] = {
    {"embed_tokens", "token_embd", HFTENSOR_AS_IS},
    {"norm", "output_norm", HFTENSOR_AS_IS},
    {"lm_head", "output", HFTENSOR_AS_IS},
    {"layers.{}.input_layernorm", "blk.{}.attn_norm", HFTENSOR_AS_IS},
    {"layers.{}.post_attention_layernorm", "blk.{}.ffn_norm", HFTENSOR_AS_IS},
    {"layers.{}.self_attn.q_proj", "blk.{}.attn_q", HFTENSOR_AS_IS},
    {"layers.{}.self_attn.k_proj", "blk.{}.attn_k", HFTENSOR_AS_IS},
    {"layers.{}.self_attn.v_proj", "blk.{}.attn_v", HFTENSOR_AS_IS},
    {"layers.{}.self_attn.o_proj", "blk.{}.attn_output", HFTENSOR_AS_IS},
    {"layers.{}.self_attn.q_norm", "blk.{}.attn_q_norm", HFTENSOR_AS_IS},
    {"layers.{}.self_attn.k_norm", "blk.{}.attn_k_norm", HFTENSOR_AS_IS},
    {"layers.{}.self_attn.rotary_emb.inv_freq", NULL, HFTENSOR_SKIP},
    {"layers.{}.mlp.gate_proj", "blk.{}.ffn_gate", HFTENSOR_AS_IS},
    {"layers.{}.mlp.up_proj", "blk.{}.ffn_up", HFTENSOR_AS_IS},
    {"layers.{}.mlp.down_proj", "blk.{}.ffn_down", HFTENSOR_AS_IS},
    END_OF_TENSORS,
};

/* What a model that sees has besides its text part. */
static const struct hftensor sight_tensors[] = {
    {"vision_tower.*", NULL, HFTENSOR_SKIP},
    {"model.vision_tower.*", NULL, HFTENSOR_SKIP},
    {"multi_modal_projector.*", NULL, HFTENSOR_SKIP},
    {"model.multi_modal_projector.*", NULL, HFTENSOR_SKIP},
    END_OF_TENSORS,
};

static const struct hftensor llama_tensors[] = {
    {"layers.{}.self_attn.q_proj", "blk.{}.attn_q", HFTENSOR_PERMUTE_Q},
    {"layers.{}.self_attn.k_proj", "blk.{}.attn_k", HFTENSOR_PERMUTE_K},
    {"layers.{}.block_sparse_moe.gate", "blk.{}.ffn_gate_inp", HFTENSOR_AS_IS},
    {"layers.{}.block_sparse_moe.experts.{x}.w1", "blk.{}.ffn_gate_exps", HFTENSOR_STACK},
    {"layers.{}.block_sparse_moe.experts.{x}.w2", "blk.{}.ffn_down_exps", HFTENSOR_STACK},
    {"layers.{}.block_sparse_moe.experts.{x}.w3", "blk.{}.ffn_up_exps", HFTENSOR_STACK},
    END_OF_TENSORS,
};

static const struct hftensor moe_tensors[] = {
    {"layers.{}.mlp.gate", "blk.{}.ffn_gate_inp", HFTENSOR_AS_IS},
    {"layers.{}.mlp.experts.{x}.gate_proj", "blk.{}.ffn_gate_exps", HFTENSOR_STACK},
    {"layers.{}.mlp.experts.{x}.up_proj", "blk.{}.ffn_up_exps", HFTENSOR_STACK},
    {"layers.{}.mlp.experts.{x}.down_proj", "blk.{}.ffn_down_exps", HFTENSOR_STACK},
    {"layers.{}.mlp.shared_expert.gate_proj", "blk.{}.ffn_gate_shexp", HFTENSOR_AS_IS},
    {"layers.{}.mlp.shared_expert.up_proj", "blk.{}.ffn_up_shexp", HFTENSOR_AS_IS},
    {"layers.{}.mlp.shared_expert.down_proj", "blk.{}.ffn_down_shexp", HFTENSOR_AS_IS},
    {"layers.{}.mlp.shared_expert_gate", "blk.{}.ffn_gate_inp_shexp", HFTENSOR_AS_IS},
    END_OF_TENSORS,
};

static const struct hftensor gemma_tensors[] = {
    {"lm_head", NULL, HFTENSOR_SKIP}, /* the embedding again */
    END_OF_TENSORS,
};

static const struct hftensor gemma2_tensors[] = {
    {"lm_head", NULL, HFTENSOR_SKIP},
    {"layers.{}.post_attention_layernorm", "blk.{}.post_attention_norm", HFTENSOR_AS_IS},
    {"layers.{}.pre_feedforward_layernorm", "blk.{}.ffn_norm", HFTENSOR_AS_IS},
    {"layers.{}.post_feedforward_layernorm", "blk.{}.post_ffw_norm", HFTENSOR_AS_IS},
    END_OF_TENSORS,
};

static const struct hftensor olmo2_tensors[] = {
    {"layers.{}.post_attention_layernorm", "blk.{}.post_attention_norm", HFTENSOR_AS_IS},
    {"layers.{}.post_feedforward_layernorm", "blk.{}.post_ffw_norm", HFTENSOR_AS_IS},
    END_OF_TENSORS,
};

static const struct hftensor phi3_tensors[] = {
    {"layers.{}.self_attn.qkv_proj", "blk.{}.attn_qkv", HFTENSOR_AS_IS},
    {"layers.{}.mlp.gate_up_proj", "blk.{}.ffn_up", HFTENSOR_AS_IS},
    END_OF_TENSORS,
};

static const struct hftensor starcoder2_tensors[] = {
    {"layers.{}.mlp.c_fc", "blk.{}.ffn_up", HFTENSOR_AS_IS},
    {"layers.{}.mlp.c_proj", "blk.{}.ffn_down", HFTENSOR_AS_IS},
    END_OF_TENSORS,
};

static const struct hftensor gpt_oss_tensors[] = {
    {"layers.{}.post_attention_layernorm", "blk.{}.post_attention_norm", HFTENSOR_AS_IS},
    {"layers.{}.self_attn.sinks", "blk.{}.attn_sinks", HFTENSOR_AS_IS},
    {"layers.{}.mlp.router", "blk.{}.ffn_gate_inp", HFTENSOR_AS_IS},
    {"layers.{}.mlp.experts.gate_up_proj", "blk.{}.ffn_gate_exps", HFTENSOR_EVEN_ROWS},
    {"layers.{}.mlp.experts.gate_up_proj", "blk.{}.ffn_up_exps", HFTENSOR_ODD_ROWS},
    {"layers.{}.mlp.experts.gate_up_proj_bias", "blk.{}.ffn_gate_exps.bias", HFTENSOR_EVEN_ROWS},
    {"layers.{}.mlp.experts.gate_up_proj_bias", "blk.{}.ffn_up_exps.bias", HFTENSOR_ODD_ROWS},
    {"layers.{}.mlp.experts.gate_up_proj_blocks", "blk.{}.ffn_gate_exps", HFTENSOR_MXFP4_EVEN},
    {"layers.{}.mlp.experts.gate_up_proj_blocks", "blk.{}.ffn_up_exps", HFTENSOR_MXFP4_ODD},
    {"layers.{}.mlp.experts.gate_up_proj_scales", NULL, HFTENSOR_SKIP}, /* they come with the blocks */
    {"layers.{}.mlp.experts.down_proj", "blk.{}.ffn_down_exps", HFTENSOR_EACH_TRANSPOSE},
    {"layers.{}.mlp.experts.down_proj_blocks", "blk.{}.ffn_down_exps", HFTENSOR_MXFP4},
    {"layers.{}.mlp.experts.down_proj_scales", NULL, HFTENSOR_SKIP},
    {"layers.{}.mlp.experts.down_proj_bias", "blk.{}.ffn_down_exps.bias", HFTENSOR_AS_IS},
    END_OF_TENSORS,
};

static const struct hftensor gpt2_tensors[] = {
    {"wte", "token_embd", HFTENSOR_AS_IS},
    {"wpe", "position_embd", HFTENSOR_AS_IS},
    {"lm_head", "output", HFTENSOR_AS_IS},
    {"ln_f", "output_norm", HFTENSOR_AS_IS},
    {"h.{}.ln_1", "blk.{}.attn_norm", HFTENSOR_AS_IS},
    {"h.{}.attn.c_attn", "blk.{}.attn_qkv", HFTENSOR_TRANSPOSE},
    {"h.{}.attn.c_proj", "blk.{}.attn_output", HFTENSOR_TRANSPOSE},
    {"h.{}.attn.masked_bias", NULL, HFTENSOR_SKIP},
    {"h.{}.attn", NULL, HFTENSOR_SKIP}, /* h.0.attn.bias is the causal mask */
    {"h.{}.ln_2", "blk.{}.ffn_norm", HFTENSOR_AS_IS},
    {"h.{}.mlp.c_fc", "blk.{}.ffn_up", HFTENSOR_TRANSPOSE},
    {"h.{}.mlp.c_proj", "blk.{}.ffn_down", HFTENSOR_TRANSPOSE},
    END_OF_TENSORS,
};

static const struct hftensor bert_tensors[] = {
    {"embeddings.word_embeddings", "token_embd", HFTENSOR_AS_IS},
    {"embeddings.position_embeddings", "position_embd", HFTENSOR_CUT_PADS},
    {"embeddings.token_type_embeddings", "token_types", HFTENSOR_AS_IS},
    {"embeddings.LayerNorm", "token_embd_norm", HFTENSOR_AS_IS},
    {"embeddings.position_ids", NULL, HFTENSOR_SKIP},
    {"encoder.layer.{}.attention.self.query", "blk.{}.attn_q", HFTENSOR_AS_IS},
    {"encoder.layer.{}.attention.self.key", "blk.{}.attn_k", HFTENSOR_AS_IS},
    {"encoder.layer.{}.attention.self.value", "blk.{}.attn_v", HFTENSOR_AS_IS},
    {"encoder.layer.{}.attention.output.dense", "blk.{}.attn_output", HFTENSOR_AS_IS},
    {"encoder.layer.{}.attention.output.LayerNorm", "blk.{}.attn_output_norm", HFTENSOR_AS_IS},
    {"encoder.layer.{}.intermediate.dense", "blk.{}.ffn_up", HFTENSOR_AS_IS},
    {"encoder.layer.{}.output.dense", "blk.{}.ffn_down", HFTENSOR_AS_IS},
    {"encoder.layer.{}.output.LayerNorm", "blk.{}.layer_output_norm", HFTENSOR_AS_IS},
    {"pooler.dense", NULL, HFTENSOR_SKIP},
    END_OF_TENSORS,
};

/* A dense layer with tanh over the first token, and the labels' layer behind it. */
static const struct hftensor bert_labels[] = {
    {"pooler.dense", "cls", HFTENSOR_AS_IS},
    {"classifier", "cls.output", HFTENSOR_AS_IS},
    END_OF_TENSORS,
};

/* The same by other names; the pooler of the model before is of no use. */
static const struct hftensor roberta_labels[] = {
    {"pooler.dense", NULL, HFTENSOR_SKIP},
    {"classifier.dense", "cls", HFTENSOR_AS_IS},
    {"classifier.out_proj", "cls.output", HFTENSOR_AS_IS},
    END_OF_TENSORS,
};

/* Over each token, directly. */
static const struct hftensor token_labels[] = {
    {"classifier", "cls.output", HFTENSOR_AS_IS},
    END_OF_TENSORS,
};

static const struct hftensor distilbert_tensors[] = {
    {"transformer.layer.{}.attention.q_lin", "blk.{}.attn_q", HFTENSOR_AS_IS},
    {"transformer.layer.{}.attention.k_lin", "blk.{}.attn_k", HFTENSOR_AS_IS},
    {"transformer.layer.{}.attention.v_lin", "blk.{}.attn_v", HFTENSOR_AS_IS},
    {"transformer.layer.{}.attention.out_lin", "blk.{}.attn_output", HFTENSOR_AS_IS},
    {"transformer.layer.{}.sa_layer_norm", "blk.{}.attn_output_norm", HFTENSOR_AS_IS},
    {"transformer.layer.{}.ffn.lin1", "blk.{}.ffn_up", HFTENSOR_AS_IS},
    {"transformer.layer.{}.ffn.lin2", "blk.{}.ffn_down", HFTENSOR_AS_IS},
    {"transformer.layer.{}.output_layer_norm", "blk.{}.layer_output_norm", HFTENSOR_AS_IS},
    END_OF_TENSORS,
};

static const struct hftensor distilbert_labels[] = {
    {"pre_classifier", "cls", HFTENSOR_AS_IS},
    {"classifier", "cls.output", HFTENSOR_AS_IS},
    END_OF_TENSORS,
};

static const struct hftensor nomic_tensors[] = {
    {"embeddings.word_embeddings", "token_embd", HFTENSOR_AS_IS},
    {"embeddings.token_type_embeddings", "token_types", HFTENSOR_AS_IS},
    {"emb_ln", "token_embd_norm", HFTENSOR_AS_IS},
    {"encoder.layers.{}.attn.Wqkv", "blk.{}.attn_qkv", HFTENSOR_AS_IS},
    {"encoder.layers.{}.attn.out_proj", "blk.{}.attn_output", HFTENSOR_AS_IS},
    {"encoder.layers.{}.norm1", "blk.{}.attn_output_norm", HFTENSOR_AS_IS},
    {"encoder.layers.{}.mlp.fc11", "blk.{}.ffn_up", HFTENSOR_AS_IS},
    {"encoder.layers.{}.mlp.fc12", "blk.{}.ffn_gate", HFTENSOR_AS_IS},
    {"encoder.layers.{}.mlp.fc2", "blk.{}.ffn_down", HFTENSOR_AS_IS},
    {"encoder.layers.{}.norm2", "blk.{}.layer_output_norm", HFTENSOR_AS_IS},
    /* as transformers names them since version 5 */
    {"embeddings.LayerNorm", "token_embd_norm", HFTENSOR_AS_IS},
    {"layers.{}.self_attn.q_proj", "blk.{}.attn_q", HFTENSOR_AS_IS},
    {"layers.{}.self_attn.k_proj", "blk.{}.attn_k", HFTENSOR_AS_IS},
    {"layers.{}.self_attn.v_proj", "blk.{}.attn_v", HFTENSOR_AS_IS},
    {"layers.{}.self_attn.o_proj", "blk.{}.attn_output", HFTENSOR_AS_IS},
    {"layers.{}.post_attention_layernorm", "blk.{}.attn_output_norm", HFTENSOR_AS_IS},
    {"layers.{}.mlp.gate_proj", "blk.{}.ffn_gate", HFTENSOR_AS_IS},
    {"layers.{}.mlp.up_proj", "blk.{}.ffn_up", HFTENSOR_AS_IS},
    {"layers.{}.mlp.down_proj", "blk.{}.ffn_down", HFTENSOR_AS_IS},
    {"layers.{}.post_mlp_layernorm", "blk.{}.layer_output_norm", HFTENSOR_AS_IS},
    {"pooler.dense", NULL, HFTENSOR_SKIP},
    END_OF_TENSORS,
};

static const struct hftensor modern_bert_tensors[] = {
    {"embeddings.tok_embeddings", "token_embd", HFTENSOR_AS_IS},
    {"embeddings.norm", "token_embd_norm", HFTENSOR_AS_IS},
    {"final_norm", "output_norm", HFTENSOR_AS_IS},
    {"layers.{}.attn_norm", "blk.{}.attn_norm", HFTENSOR_AS_IS},
    {"layers.{}.attn.Wqkv", "blk.{}.attn_qkv", HFTENSOR_AS_IS},
    {"layers.{}.attn.Wo", "blk.{}.attn_output", HFTENSOR_AS_IS},
    {"layers.{}.mlp_norm", "blk.{}.ffn_norm", HFTENSOR_AS_IS},
    {"layers.{}.mlp.Wi", "blk.{}.ffn_up", HFTENSOR_AS_IS},
    {"layers.{}.mlp.Wo", "blk.{}.ffn_down", HFTENSOR_AS_IS},
    {"decoder", NULL, HFTENSOR_SKIP},
    {"head.dense", NULL, HFTENSOR_SKIP},
    {"head.norm", NULL, HFTENSOR_SKIP},
    END_OF_TENSORS,
};

static const struct hftensor modern_bert_labels[] = {
    {"head.dense", "cls", HFTENSOR_AS_IS},
    {"head.norm", "cls.norm", HFTENSOR_AS_IS},
    {"classifier", "cls.output", HFTENSOR_AS_IS},
    END_OF_TENSORS,
};

/* ---- architectures ---- */

/* The text part of a model that sees: as published, and as transformers writes it since version 5. */
#define TEXT_PART "language_model.model.|language_model.|model.language_model."

#define DECODER(hf, gguf, keys, tensors) {hf, gguf, "model.", {keys, common_keys}, {tensors, common_tensors}, false, false, HFARCH_NO_LABELS, HFTOKENS_ANY}
#define WINDOWED(hf, gguf, keys, tensors) {hf, gguf, "model.", {keys, window_keys, common_keys}, {tensors, common_tensors}, false, false, HFARCH_NO_LABELS, HFTOKENS_ANY}
#define GEMMA(hf, gguf, keys, tensors) {hf, gguf, "model.", {keys, common_keys}, {tensors, common_tensors}, true, false, HFARCH_NO_LABELS, HFTOKENS_ANY}
#define ENCODER(hf, prefix, labels, extra) {hf, "bert", prefix, {common_keys}, {extra, bert_tensors}, false, true, labels, HFTOKENS_BERT}
#define DISTILBERT(hf, labels, extra, relu) {hf, "bert", "distilbert.", {distilbert_keys, common_keys}, {extra, distilbert_tensors, bert_tensors}, false, true, labels, HFTOKENS_BERT, relu}
#define MODERN(hf, labels, extra) {hf, "modern-bert", "model.", {modern_bert_keys, common_keys}, {extra, modern_bert_tensors}, false, true, labels, HFTOKENS_ANY}

static const struct hfarch archs[] = {
    DECODER("LlamaForCausalLM", "llama", llama_keys, llama_tensors),
    WINDOWED("MistralForCausalLM", "llama", llama_keys, llama_tensors),
    {"Mistral3ForConditionalGeneration", "llama", TEXT_PART, {llama_keys, window_keys, common_keys}, {llama_tensors, common_tensors, sight_tensors}, false, false, HFARCH_NO_LABELS, HFTOKENS_ANY},
    WINDOWED("MixtralForCausalLM", "llama", llama_keys, llama_tensors),
    DECODER("SmolLM3ForCausalLM", "smollm3", llama_keys, llama_tensors),
    DECODER("GraniteForCausalLM", "granite", granite_keys, llama_tensors),
    DECODER("Qwen2ForCausalLM", "qwen2", head_dim_keys, common_tensors),
    DECODER("Qwen3ForCausalLM", "qwen3", head_dim_keys, common_tensors),
    DECODER("Qwen2MoeForCausalLM", "qwen2moe", moe_keys, moe_tensors),
    DECODER("Qwen3MoeForCausalLM", "qwen3moe", moe_keys, moe_tensors),
    GEMMA("GemmaForCausalLM", "gemma", gemma_keys, gemma_tensors),
    GEMMA("Gemma2ForCausalLM", "gemma2", gemma2_keys, gemma2_tensors),
    GEMMA("Gemma3ForCausalLM", "gemma3", gemma3_keys, gemma2_tensors),
    {"Gemma3ForConditionalGeneration", "gemma3", TEXT_PART, {gemma3_keys, common_keys}, {gemma2_tensors, common_tensors, sight_tensors}, true, false, HFARCH_NO_LABELS, HFTOKENS_ANY},
    DECODER("Phi3ForCausalLM", "phi3", phi3_keys, phi3_tensors),
    WINDOWED("Starcoder2ForCausalLM", "starcoder2", head_dim_keys, starcoder2_tensors),
    DECODER("Olmo2ForCausalLM", "olmo2", head_dim_keys, olmo2_tensors),
    WINDOWED("Olmo3ForCausalLM", "olmo2", olmo3_keys, olmo2_tensors),
    DECODER("GptOssForCausalLM", "gpt-oss", gpt_oss_keys, gpt_oss_tensors),
    {"GPT2LMHeadModel", "gpt2", "transformer.", {common_keys}, {gpt2_tensors}, false, false, HFARCH_NO_LABELS, HFTOKENS_ANY},
    ENCODER("BertModel", "bert.", HFARCH_NO_LABELS, bert_tensors),
    ENCODER("BertForSequenceClassification", "bert.", HFARCH_LABELS_TEXTS, bert_labels),
    ENCODER("BertForTokenClassification", "bert.", HFARCH_LABELS_TOKENS, token_labels),
    ENCODER("RobertaModel", "roberta.", HFARCH_NO_LABELS, bert_tensors),
    ENCODER("RobertaForSequenceClassification", "roberta.", HFARCH_LABELS_TEXTS, roberta_labels),
    ENCODER("RobertaForTokenClassification", "roberta.", HFARCH_LABELS_TOKENS, token_labels),
    ENCODER("XLMRobertaModel", "roberta.", HFARCH_NO_LABELS, bert_tensors),
    ENCODER("XLMRobertaForSequenceClassification", "roberta.", HFARCH_LABELS_TEXTS, roberta_labels),
    ENCODER("XLMRobertaForTokenClassification", "roberta.", HFARCH_LABELS_TOKENS, token_labels),
    DISTILBERT("DistilBertModel", HFARCH_NO_LABELS, distilbert_tensors, false),
    DISTILBERT("DistilBertForSequenceClassification", HFARCH_LABELS_TEXTS, distilbert_labels, true),
    DISTILBERT("DistilBertForTokenClassification", HFARCH_LABELS_TOKENS, token_labels, false),
    {"NomicBertModel", "nomic-bert", "bert.", {nomic_keys, common_keys}, {nomic_tensors}, false, true, HFARCH_NO_LABELS, HFTOKENS_BERT},
    MODERN("ModernBertModel", HFARCH_NO_LABELS, modern_bert_tensors),
    MODERN("ModernBertForMaskedLM", HFARCH_NO_LABELS, modern_bert_tensors),
    MODERN("ModernBertForSequenceClassification", HFARCH_LABELS_TEXTS, modern_bert_labels),
    MODERN("ModernBertForTokenClassification", HFARCH_LABELS_TOKENS, modern_bert_labels),
};

static const struct hfneed needs[] = {
    {"text_config.model_type", "mistral", "gemma3"},
    {"use_sliding_window", "false", NULL},
    {"partial_rotary_factor|rope_parameters.partial_rotary_factor|rope_scaling.partial_rotary_factor", "1", "phi3"},
    {"no_rope_layer_interval", "4", NULL},
    {"mlp_only_layers", "[]", NULL},
    {"decoder_sparse_step", "1", NULL},
    {"swiglu_limit", "7", NULL},
    {"use_bidirectional_attention", "false", NULL},
    {"scale_attn_weights", "true", NULL},
    {"scale_attn_by_inverse_layer_idx", "false", NULL},
    {"add_cross_attention", "false", NULL},
};

/* clang-format on */

const struct hfneed *hfarch_need(unsigned i)
{
    return i < sizeof(needs) / sizeof(needs[0]) ? &needs[i] : NULL;
}

const struct hfkey *hfarch_key(const struct hfarch *a, const char *to)
{
    for (unsigned s = 0; s < HFARCH_SETS; s++)
        for (const struct hfkey *k = a->keys[s]; k && k->to; k++)
            if (strcmp(k->to, to) == 0)
                return k;
    return NULL;
}

const struct hfarch *hfarch_at(unsigned i)
{
    return i < sizeof(archs) / sizeof(archs[0]) ? &archs[i] : NULL;
}

const struct hfarch *hfarch_find(struct str name)
{
    for (unsigned i = 0; i < sizeof(archs) / sizeof(archs[0]); i++)
        if (str_is(name, archs[i].hf))
            return &archs[i];
    return NULL;
}
