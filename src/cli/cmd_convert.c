/* SPDX-License-Identifier: Apache-2.0 */
/* cmd_convert.c - llmos convert: a Hugging Face folder becomes a GGUF file */
#include "cli/cli.h"
#include "cli/converted.h"
#include "cli/halt.h"
#include "cli/talk.h"
#include "model/hfconvert.h"

#include <stdio.h>

struct convert {
    const char *type;
    struct talk_options room;
};

static const struct convert convert_defaults = {.type = "auto"};

static const struct opt convert_options[] = {
    OPT_GROUP("Output"),
    OPT_STRING(0, "type", struct convert, type, "TYPE",
               "of matrices; vectors and norms are always f32", .choices = HFCONVERT_TYPES,
               .default_text = "auto: as the folder has them"),
    TALK_ROOM_OPTIONS(struct convert, room),
    OPT_GROUP("Other"),
    OPT_END,
};

static const struct opt_command convert_command = {
    .name = "llmos convert",
    .summary = "make a GGUF file of a Hugging Face folder",
    .operands = "FOLDER OUT.gguf",
    .operand_why = "a folder with config.json and model.safetensors, and the file to write",
    .operands_min = 2,
    .operands_max = 2,
    .description =
        "Reads config.json, the tokenizer (tokenizer.json, tokenizer.model, vocab.json with "
        "merges.txt, or vocab.txt), tokenizer_config.json, generation_config.json, "
        "chat_template.jinja and model.safetensors or its shards, and writes one GGUF file with "
        "the "
        "keys and names of llama.cpp.\n\n"
        "Architectures: LlamaForCausalLM, MistralForCausalLM, MixtralForCausalLM, "
        "GraniteForCausalLM, Qwen2ForCausalLM, Qwen3ForCausalLM, Qwen2MoeForCausalLM, "
        "Qwen3MoeForCausalLM, Gemma2ForCausalLM, Gemma3ForCausalLM, Phi3ForCausalLM, "
        "Starcoder2ForCausalLM, Olmo2ForCausalLM, GptOssForCausalLM, GPT2LMHeadModel, BertModel, "
        "BertForSequenceClassification, BertForTokenClassification, RobertaModel, XLMRobertaModel, "
        "ModernBertModel and their classifiers, NomicBertModel.\n\n"
        "Quantised folders are read: GPTQ (2, 3, 4 and 8 bits), AWQ (gemm), compressed-tensors "
        "(packed, int8, FP8, NVFP4 and MXFP4), bitsandbytes (nf4, fp4 and int8), MXFP4 of gpt-oss, "
        "and FP8. With --type auto the codes stay what they are where GGUF has blocks that say the "
        "same: q4_0, q8_0 and mxfp4, and q4_1 where zeros differ from group to group, which are "
        "rounded by less than a hundredth of a step. The rest becomes f16, FP8 bf16: groups in the "
        "order of activations, 8 bits with zeros, nf4 and fp4. Then --type q8_0 makes them small "
        "again. For others take the folder of the model before it was quantised.\n\n"
        "The folder is a stranger's: it is parsed in a VCE that can write the output and nothing "
        "else. Weights in a pickle of PyTorch (pytorch_model.bin) are refused, because reading "
        "one runs the code that is in it.\n\n"
        "llmos run, chat, bench, inspect and tokenize take such a folder in place of a model file: "
        "they convert it once, with --type auto, and keep the result beside packed weights "
        "(llmos-pack(1)), bounded as those are.",
    .examples = "llmos convert Qwen2.5-0.5B-Instruct qwen.gguf\n"
                "llmos convert --type q8_0 . small.gguf\n"
                "llmos run Qwen2.5-0.5B-Instruct 'Why is the sky blue?'",
    .see_also = "llmos-run(1), llmos-pack(1), llmos-inspect(1)",
    .options = convert_options,
    .defaults = &convert_defaults,
};

static int run(int argc, char **argv)
{
    struct convert o = convert_defaults;
    struct worker_options w;
    struct llmos_error err;
    struct opt_rest rest;
    char name[256];
    int code, rc;

    if (!cli_parse(&cli_convert, &o, argc, argv, &rest, &code))
        return code;
    halt_catch();
    rc = talk_fill(&w, &o.room, rest.at[0], name, sizeof(name), &err);
    if (rc == 0)
        rc = converted_write(rest.at[0], rest.at[1], o.type, &w, &err);
    if (rc < 0 && !halt_asked())
        return cli_error(&err);
    return rc < 0 ? EXIT_SIGNAL + halt_asked() : EXIT_OK;
}

const struct cli_verb cli_convert = {"convert", &convert_command, run};
