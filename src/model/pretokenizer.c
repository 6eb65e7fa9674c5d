/* SPDX-License-Identifier: Apache-2.0 */
/* pretokenizer.c - see pretokenizer.h */
#include "model/pretokenizer.h"

// clang-format off

/* Parts that recur. */
#define CONTRACTION "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
#define WORD        "[^\\r\\n\\p{L}\\p{N}]?\\p{L}+"
#define MARKS       " ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*"
#define MARKS_SLASH " ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*"
#define SPACES      "\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
#define UPPER       "[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]"
#define LOWER       "[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]"
#define CASED_OF(upper, lower, tail) "[^\\r\\n\\p{L}\\p{N}]?" upper "*" lower "+" tail \
                                     "|[^\\r\\n\\p{L}\\p{N}]?" upper "+" lower "*" tail
#define CASED(tail) CASED_OF(UPPER, LOWER, tail)
#define CJK         "[一-龥ࠀ-一가-퟿]+"
#define KANA        "[一-龥぀-ゟ゠-ヿ]+"
/* Script=Han of Unicode 15.1. */
#define HAN         "[\u2e80-\u2e99\u2e9b-\u2ef3\u2f00-\u2fd5\u3005\u3007\u3021-\u3029\u3038-\u303b" \
                    "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufa6d\ufa70-\ufad9\U00016fe2\U00016fe3" \
                    "\U00016ff0\U00016ff1\U00020000-\U0002a6df\U0002a700-\U0002b739" \
                    "\U0002b740-\U0002b81d\U0002b820-\U0002cea1\U0002ceb0-\U0002ebe0" \
                    "\U0002ebf0-\U0002ee5d\U0002f800-\U0002fa1d\U00030000-\U0003134a" \
                    "\U00031350-\U000323af]"
#define BUT_HAN(x)  "(?:(?!" HAN ")" x ")"
/* \w as Oniguruma has it: letters, marks, digits, what joins them, letters in circles, and the
 * numbers of Latin-1. */
#define WORDLY      "[\\p{L}\\p{M}\\p{Nd}\\p{Nl}\\p{Pc}²³¹¼-¾\u24b6-\u24e9\U0001f130-\U0001f149" \
                    "\U0001f150-\U0001f169\U0001f170-\U0001f189]"
/* As DeepSeek lists the letters of scripts with cases. */
#define CASED_LETTERS \
    "A-Za-zµÀ-ÖØ-öø-ƺƼ-ƿǄ-ʓʕ-ʯͰ-ͳͶͷͻ-ͽͿΆΈ-ΊΌΎ-ΡΣ-ϵϷ-ҁ" \
    "Ҋ-ԯԱ-ՖႠ-ჅᎠ-Ᏽᏸ-ᏽᲐ-ᲺᲽ-Ჿᴀ-ᴫᵫ-ᵷᵹ-ᶚḀ-ἕἘ-Ἕἠ-ὅὈ-Ὅὐ-ὗὙὛὝ" \
    "Ὗ-ώᾀ-ᾴᾶ-ᾼιῂ-ῄῆ-ῌῐ-ΐῖ-Ίῠ-Ῥῲ-ῴῶ-ῼℂℇℊ-ℓℕℙ-ℝℤΩℨK-ℭℯ-" \
    "ℴℹℼ-ℿⅅ-ⅉⅎↃↄⰀ-ⱻⱾ-ⳤⳫ-ⳮⳲⳳꙀ-ꙭꚀ-ꚛꜢ-ꝯꝱ-ꞇꞋ-ꞎꭰ-ꮿﬀ-ﬆﬓ-ﬗＡ-" \
    "Ｚａ-ｚ𐐀-𐑏𐒰-𐓓𐓘-𐓻𐲀-𐲲𐳀-𐳲𑢠-𑣟𞤀-𞥃"

/* ---- the expressions ---- */

#define LIST(...) (const char *const[]){__VA_ARGS__, NULL}

#define GPT_2        LIST(PRETOKENIZER_BYTE_LEVEL)
#define DIGIT_GPT_2  LIST(PRETOKENIZER_DIGIT, PRETOKENIZER_BYTE_LEVEL)
#define LLAMA_3      LIST(CONTRACTION "|" WORD "|\\p{N}{1,3}|" MARKS "|" SPACES)
#define QWEN_2       LIST(CONTRACTION "|" WORD "|\\p{N}|" MARKS "|" SPACES)
#define QWEN_35      LIST(CONTRACTION "|[^\\r\\n\\p{L}\\p{N}]?[\\p{L}\\p{M}]+|\\p{N}|" \
                          " ?[^\\s\\p{L}\\p{M}\\p{N}]+[\\r\\n]*|" SPACES)
#define BAILING      LIST("'(?i:[sdmt]|ll|ve|re)|[^\\r\\n\\p{L}\\p{N}]?+\\p{L}+|\\p{N}|" \
                          " ?[^\\s\\p{L}\\p{N}]++[\\r\\n]*|\\s*[\\r\\n]|\\s+(?!\\S)|\\s+")
#define SEED_CODER   LIST(CONTRACTION "|[^\r\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1}|" \
                          " ?[^\\s\\p{L}\\p{N}\r\n]+|\\s*[\r\n]+|\\s+(?!\\S)|\\s+")
#define EXAONE_MOE   LIST(CONTRACTION "|[^\\r\\n\\p{L}\\p{N}]?(?:\\p{L}\\p{M}*(?: \\p{L}\\p{M}*)*)+|\\p{N}|" \
                          " ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]?|\\s*[\\r\\n]|\\s+(?!\\S)|\\s+")
#define TEKKEN       LIST(CASED("") "|\\p{N}|" MARKS_SLASH "|" SPACES)
#define GPT_4O       LIST(CASED(CONTRACTION "?") "|\\p{N}{1,3}|" MARKS_SLASH "|" SPACES)
#define TINY_AYA     LIST("\\p{Nd}+(?!" WORDLY ")", SPLITTER_LAST_THREES, \
                          CASED(CONTRACTION "?") "|\\p{N}{1,3}|" MARKS_SLASH "|" SPACES)
#define KIMI_K2      LIST(HAN "+|" CASED_OF(BUT_HAN(UPPER), BUT_HAN(LOWER), CONTRACTION "?") \
                          "|\\p{N}{1,3}|" MARKS "|" SPACES)
#define K2_HORIZON   LIST(CONTRACTION "|[^\\r\\n\\p{L}\\p{N}]?[\\p{L}\\p{M}\u200c\u200d]+|\\p{N}{1,3}|" \
                          MARKS "|" SPACES)
#define UFAKZEKA     LIST(WORD "|\\p{N}|" MARKS "|" SPACES)
#define MINICPM_5    LIST("\\p{N}{1,3}", CONTRACTION "|" WORD "|\\p{N}+|" MARKS "|" SPACES)
/* Lines begin with the ends of those before them. */
#define LAGUNA       LIST("(?:\\r?\\n)+(?:[^\\r\\n]|\\r(?!\\n))*", \
                          CONTRACTION "|" WORD "|\\p{N}|" MARKS "|" SPACES)
#define JAIS_2       LIST(CONTRACTION "|" WORD "|\\p{N}{1,3}|" MARKS "|\\s*[\\r\\n]+|" \
                          "\\s{512}(?!\\S)|\\s{256}(?!\\S)|\\s{128}(?!\\S)|\\s{64}(?!\\S)|" \
                          "\\s{32}(?!\\S)|\\s{16}(?!\\S)|\\s{8}(?!\\S)|\\s{4}(?!\\S)|" \
                          "\\s{1,2}(?!\\S)|\\s{1}")
#define YOUTU        LIST("[가-힣ㄱ-ㆎ]+|[！…“”‘’—：；，、-〿︰-﹏]+|[ㄅ-ㄯ]+|" KANA, \
                          CASED(CONTRACTION "?") "|\\p{N}|" MARKS_SLASH "|" SPACES)
#define DEEPSEEK_LLM LIST("[\r\n]", "\\s?[" CASED_LETTERS "]+", \
                          "\\s?[!-/:-~！-／：-～‘-‟　-。]+", "\\s+$", CJK, "\\p{N}+")
#define DEEPSEEK_CODER LIST("[\r\n]", "\\s?\\p{L}+", "\\s?\\p{P}+", CJK, "\\p{N}")
#define MARKED_WORD  "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|" \
                     "[^\r\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+| ?[\\p{P}\\p{S}]+"
#define MARKED       MARKED_WORD "[\r\n]*|\\s*[\r\n]+|\\s+(?!\\S)|\\s+"
#define DEEPSEEK_3   LIST("\\p{N}{1,3}", KANA, MARKED)
#define SPARK_2_5    LIST("\\p{N}{1,3}", KANA, MARKED_WORD "|[\r\n]|\\s+(?!\\S)|\\s+", "\\p{N}")
#define AFMOE        LIST("\\p{Nd}+", SPLITTER_LAST_THREES, \
                          "[\u4e00-\u9fff\u3040-\u30ff\u3400-\u4dbf\uf900-\ufaff\uff65-\uff9f" \
                          "\u2f00-\u2fdf]+|[\u0e00-\u0e7f]+|[\u0e80-\u0eff]+|[\u1780-\u17ff]+|" \
                          "[\u1000-\u109f\uaa60-\uaa7f\ua9e0-\ua9ff]+|[\uac00-\ud7af\u1100-\u11ff]+", MARKED)
#define FALCON       LIST(PRETOKENIZER_PUNCTUATION, PRETOKENIZER_BYTE_LEVEL, "[0-9][0-9][0-9]")
#define BLOOM_WORD   " ?[^(\\s|.,!?…。，、।۔،)]+"
#define BLOOM        LIST(BLOOM_WORD)
#define VIKING       LIST(BLOOM_WORD, PRETOKENIZER_DIGIT)
#define SUPERBPE     LIST("\\p{N}+", SPLITTER_THREES)
#define CHAMELEON    LIST("<sentinel:[0-9]+>", "(IMGIMG)((A|B|C|D|E|F|G|H|I){1,4})Z", \
                          "([\\t\\n]|    |  )", PRETOKENIZER_DIGIT, "[\\p{P}!-/:-@\\[-`{-~]", \
                          PRETOKENIZER_BYTE_LEVEL)
/* What files without a name are taken to want. */
#define DEFAULT      LIST("[\\p{P}\\$\\+<=>\\^~\\|]+", PRETOKENIZER_BYTE_LEVEL, PRETOKENIZER_DIGITS, \
                          "[0-9][0-9][0-9]")

/* ---- the names ---- */

static const struct pretokenizer pretokenizers[] = {
    {"default", DEFAULT, false, false},
    {"gpt-2", GPT_2, false, false},
    {"phi-2", GPT_2, false, false},
    {"mpt", GPT_2, false, false},
    {"olmo", GPT_2, false, false},
    {"jais", GPT_2, false, false},
    {"gigachat", GPT_2, false, false},
    {"roberta-bpe", GPT_2, false, false},
    {"modern-bert", GPT_2, false, false},
    {"jina-es", GPT_2, false, false},
    {"jina-de", GPT_2, false, false},
    {"jina-v1-en", GPT_2, false, false},
    {"jina-v2-es", GPT_2, false, false},
    {"jina-v2-de", GPT_2, false, false},
    {"jina-v2-code", GPT_2, false, false},
    {"a.x-4.0", GPT_2, false, false},
    {"mellum", GPT_2, false, false},
    {"exaone4", GPT_2, false, false},
    {"trillion", GPT_2, false, false},
    {"granite-docling", GPT_2, false, false},
    {"starcoder", DIGIT_GPT_2, false, false},
    {"refact", DIGIT_GPT_2, false, false},
    {"command-r", DIGIT_GPT_2, false, false},
    {"cohere2_moe", DIGIT_GPT_2, false, false},
    {"smollm", DIGIT_GPT_2, false, false},
    {"codeshell", DIGIT_GPT_2, false, false},
    {"exaone", DIGIT_GPT_2, false, false},
    {"minerva-7b", DIGIT_GPT_2, false, false},
    {"mellum2", DIGIT_GPT_2, false, false},
    {"llama-bpe", LLAMA_3, true, true},
    {"llama3", LLAMA_3, true, true},
    {"llama-v3", LLAMA_3, true, true},
    {"falcon3", LLAMA_3, true, true},
    {"falcon-h1", LLAMA_3, true, true},
    {"pixtral", LLAMA_3, true, true},
    {"midm-2.0", LLAMA_3, true, true},
    {"lfm2", LLAMA_3, true, true},
    {"jina-v5-nano", LLAMA_3, true, true},
    {"dbrx", LLAMA_3, false, false},
    {"smaug-bpe", LLAMA_3, false, false},
    {"chatglm-bpe", LLAMA_3, false, false},
    {"glm4", LLAMA_3, false, false},
    {"jais-2", JAIS_2, false, false},
    {"minicpm5", MINICPM_5, true, false},
    {"k2-horizon", K2_HORIZON, false, false},
    {"qwen2", QWEN_2, false, false},
    {"deepseek-r1-qwen", QWEN_2, false, false},
    {"megrez", QWEN_2, false, false},
    {"kormo", QWEN_2, false, false},
    {"openpangu", QWEN_2, false, false},
    {"f2llmv2", QWEN_2, false, false},
    {"stablelm2", QWEN_2, false, false},
    {"hunyuan", QWEN_2, false, false},
    {"grok-2", QWEN_2, false, false},
    {"solar-open", QWEN_2, false, false},
    {"ufakzeka", UFAKZEKA, false, false},
    {"laguna", LAGUNA, false, false},
    {"qwen35", QWEN_35, false, false},
    {"bailingmoe", BAILING, false, false},
    {"bailingmoe2", BAILING, false, false},
    {"llada-moe", BAILING, false, false},
    {"seed-coder", SEED_CODER, false, false},
    {"exaone-moe", EXAONE_MOE, false, false},
    {"tekken", TEKKEN, true, true},
    {"gpt-4o", GPT_4O, false, false},
    {"llama4", GPT_4O, false, false},
    {"kanana2", GPT_4O, false, false},
    {"talkie", GPT_4O, false, false},
    {"minimax-m2", GPT_4O, false, false},
    {"granite-embed-multi-97m", GPT_4O, true, false},
    {"tiny_aya", TINY_AYA, false, false},
    {"cohere2moe", TINY_AYA, false, false},
    {"kimi-k2", KIMI_K2, false, false},
    {"youtu", YOUTU, true, false},
    {"deepseek-llm", DEEPSEEK_LLM, false, false},
    {"deepseek-coder", DEEPSEEK_CODER, false, false},
    {"deepseek-v3", DEEPSEEK_3, false, false},
    {"hunyuan-dense", DEEPSEEK_3, false, false},
    {"joyai-llm", DEEPSEEK_3, false, false},
    {"hy_v4", DEEPSEEK_3, false, false},
    {"spark2_5", SPARK_2_5, false, false},
    {"afmoe", AFMOE, false, false},
    {"falcon", FALCON, false, false},
    {"bloom", BLOOM, false, false},
    {"poro-chat", BLOOM, false, false},
    {"gpt3-finnish", BLOOM, false, false},
    {"viking", VIKING, false, false},
    {"superbpe", SUPERBPE, false, false},
    {"chameleon", CHAMELEON, false, true},
};

/* The same written otherwise in files of tokenizer.json. */
static const struct {
    const char *as_written, *here;
} spellings[] = {
    {" ?[^(\\s|[.,!?…。，、।۔،])]+", BLOOM_WORD},
    {"(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])|" WORD "|\\p{N}{1,3}|" MARKS "|" SPACES,
     CONTRACTION "|" WORD "|\\p{N}{1,3}|" MARKS "|" SPACES},
    {"(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])|" WORD "|\\p{N}|" MARKS "|" SPACES,
     CONTRACTION "|" WORD "|\\p{N}|" MARKS "|" SPACES},
    {"'(?i:[sdmt]|ll|ve|re)|[^\\r\\n\\p{L}\\p{N}]?+\\p{L}+|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]++[\\r\\n]*|" SPACES,
     CONTRACTION "|" WORD "|\\p{N}{1,3}|" MARKS "|" SPACES},
};

// clang-format on

const struct pretokenizer *pretokenizer_at(size_t i)
{
    return i < sizeof(pretokenizers) / sizeof(pretokenizers[0]) ? &pretokenizers[i] : NULL;
}

const struct pretokenizer *pretokenizer_by_name(struct str name)
{
    const struct pretokenizer *p;

    for (size_t i = 0; (p = pretokenizer_at(i)) != NULL; i++)
        if (str_is(name, p->name))
            return p;
    return NULL;
}

/* "\r" and "\n" may stand in an expression as they are, or as two characters: the latter. */
static bool same_expression(struct str a, const char *b)
{
    size_t i = 0;

    while (i < a.len && *b) {
        char c = a.at[i++], d = *b++;

        if (c == '\\' && i < a.len && (a.at[i] == 'r' || a.at[i] == 'n'))
            c = a.at[i++] == 'r' ? '\r' : '\n';
        if (d == '\\' && (*b == 'r' || *b == 'n'))
            d = *b++ == 'r' ? '\r' : '\n';
        if (c != d)
            return false;
    }
    return i == a.len && *b == '\0';
}

static struct str our_spelling(struct str expression)
{
    for (size_t i = 0; i < sizeof(spellings) / sizeof(spellings[0]); i++)
        if (same_expression(expression, spellings[i].as_written))
            return str_of(spellings[i].here);
    return expression;
}

const struct pretokenizer *pretokenizer_by_expressions(const struct str *expressions, size_t count,
                                                       bool ignore_merges)
{
    const struct pretokenizer *p;

    for (size_t i = 0; (p = pretokenizer_at(i)) != NULL; i++) {
        size_t n = 0;

        while (p->expressions[n] && n < count &&
               same_expression(our_spelling(expressions[n]), p->expressions[n]))
            n++;
        if (n == count && !p->expressions[n] && p->ignore_merges == ignore_merges)
            return p;
    }
    return NULL;
}

int pretokenizer_compile(const struct pretokenizer *p, struct splitter *s, struct arena *arena,
                         struct llmos_error *err)
{
    size_t n = 0;
    int rc;

    while (p->expressions[n])
        n++;
    rc = splitter_init(s, p->expressions, n, arena, err);
    return rc < 0 ? fail_while(err, rc, "pre-tokenizer '%s'", p->name) : 0;
}
