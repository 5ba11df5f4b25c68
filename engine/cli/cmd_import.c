#include "base/digest.h"
#include "base/str.h"
#include "engine/cli/cli.h"
#include "formats/gguf.h"

static int run(struct uc_cli *cli, struct uc_err *err)
{
    const char *src = cli->args[0], *dst = cli->args[1];
    char hex[UC_HEX_LEN + 1], size[32];
    struct uc_gguf_import info;
    int rc = uc_gguf_import(src, dst, &info, err);

    if (rc < 0)
        return rc;
    uc_digest_hex(&info.file_digest, hex);
    if (cli->json)
        uc_print_json(json_pack("{s:s, s:s, s:I, s:I, s:{s:I, s:s}}", "source", src, "folder", dst,
                                "tensors", (json_int_t)info.n_tensors, "weights",
                                (json_int_t)info.n_weights, "model.safetensors", "size_bytes",
                                (json_int_t)info.file_bytes, "sha256", hex));
    else
        printf("%s: %zu tensors, %llu weights, model.safetensors %s, sha256 %s\n", dst,
               info.n_tensors, (unsigned long long)info.n_weights,
               uc_str_bytes(size, info.file_bytes), hex);
    return 0;
}

const struct uc_command uc_cmd_import = {
    .name = "import",
    .summary = "make a Hugging Face folder of a GGUF file",
    .usage = "FILE.gguf DIR",
    .examples = "uc import smollm2.gguf models/smollm2   then: uc compress models/smollm2",
    .about = "The weights are dequantized and written as bf16 safetensors, with config.json,\n"
             "tokenizer.json, tokenizer_config.json and generation_config.json beside them.\n"
             "Llama models with a byte-level BPE tokenizer are read; others are refused. DIR must\n"
             "not exist yet, and appears only when it is complete. See docs/import.md.",
    .min_args = 2,
    .max_args = 2,
    .run = run,
};
