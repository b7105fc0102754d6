/* checkpoint.h - a model's files behind one interface: tensors under Hugging Face names, a config
 * under Hugging Face keys, whatever the format.  Private; open and close are in apus/io.h. */
#ifndef APUSI_CHECKPOINT_H
#define APUSI_CHECKPOINT_H

#include "apus/io.h"
#include "config.h"
#include "gguf.h"
#include "tensors.h"

/* The same for a model of which only numbers are asked: a folder may lack its weights, and a config
 * may stand alone, as a file whose name ends in ".json"; there are no tensors then.
 * Errors: those of apus_checkpoint_open. */
apus_status apus_checkpoint_open_bare(apus_checkpoint **out, const char *path);

/* NULL if there is none.  A tensor of a format that cannot be read is found, without data. */
const apus_file_tensor *apus_checkpoint_find(const apus_checkpoint *checkpoint, const char *name);
/* A tensor whose bytes can be read.
 * Errors: APUS_ERR_MISSING, APUS_ERR_SUPPORT ("tensor X has format q5_K: not supported yet"). */
apus_status apus_checkpoint_need(const apus_checkpoint *checkpoint, const char *name,
                                 const apus_file_tensor **out);
/* The tensor's bytes were read and are not needed soon: they need not stay in memory. */
void apus_checkpoint_forget(const apus_file_tensor *tensor);
const apus_file_tensor *apus_checkpoint_at(const apus_checkpoint *checkpoint, size_t i);

/* A folder's config.json as it is, of either generation of keys.  For GGUF it is built from the
 * metadata with transformers 4's keys: model_type, architectures, hidden_size, num_hidden_layers,
 * num_attention_heads, num_key_value_heads, head_dim, intermediate_size, vocab_size,
 * max_position_embeddings, rms_norm_eps, rope_theta, rope_scaling if any, tie_word_embeddings,
 * attention_bias, bos_token_id, eos_token_id, pad_token_id, hidden_act. */
const cJSON *apus_checkpoint_config(const apus_checkpoint *checkpoint);
/* A folder's generation_config.json; NULL if it has none, and for GGUF. */
const cJSON *apus_checkpoint_generation(const apus_checkpoint *checkpoint);
/* The config in the one form of config.h, with the end tokens of generation_config.json added.
 * Errors: those of apus_config_read, with the file's name before them. */
apus_status apus_checkpoint_read_config(const apus_checkpoint *checkpoint, apus_config *out);
/* Metadata of a GGUF file (vocabulary, template); NULL for a folder. */
const apus_gguf *apus_checkpoint_gguf(const apus_checkpoint *checkpoint);

#endif
