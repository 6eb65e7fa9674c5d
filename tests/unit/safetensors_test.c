/* SPDX-License-Identifier: Apache-2.0 */
/* safetensors_test.c - a safetensors file: what it holds, and every way in which it can lie */
#include "model/safetensors.h"

#include "base/buf.h"
#include "base/mem.h"
#include "test.h"

static struct arena arena;
static struct safetensors file;
static struct llmos_error err;

/* A file with that header and so many bytes behind it; on the heap, so that reads past it show. */
static int parse_length(const char *header, uint64_t length, size_t values)
{
    size_t n = 8 + strlen(header) + values;
    static unsigned char *bytes; /* names are slices of it: it lives until the next */

    free(bytes);
    bytes = calloc(1, n);
    CHECK(bytes);
    for (unsigned i = 0; i < 8; i++)
        bytes[i] = (unsigned char)(length >> (8 * i));
    memcpy(bytes + 8, header, strlen(header));
    arena_fini(&arena);
    arena_init(&arena, 1u << 20);
    err = (struct llmos_error){0};
    return safetensors_parse(&file, &arena, (struct str){(char *)bytes, n}, "m.safetensors", &err);
}

static int parse(const char *header, size_t values)
{
    return parse_length(header, strlen(header), values);
}

TEST(safetensors_reads_types_shapes_and_places)
{
    CHECK_INT(parse("{\"__metadata__\": {\"format\": \"pt\"}, \"b\": {\"dtype\": \"BF16\", "
                    "\"shape\": [2, 3], "
                    "\"data_offsets\": [4, 16]}, \"a\": {\"dtype\": \"F32\", \"shape\": [], "
                    "\"data_offsets\": [0, 4]}, "
                    "\"c\": {\"dtype\": \"U8\", \"shape\": [0, 7], \"data_offsets\": [16, 16]}}",
                    16),
              0);
    CHECK_INT(file.count, 3);
    CHECK(str_is(file.tensors[0].name, "b") && file.tensors[0].type == SAFETENSORS_BF16);
    CHECK_INT(file.tensors[0].n_dims, 2);
    CHECK_INT(file.tensors[0].shape[0], 2);
    CHECK_INT(file.tensors[0].shape[1], 3);
    CHECK_INT(file.tensors[0].bytes, 12);
    CHECK_INT(file.tensors[1].values, 1);
    CHECK_INT(file.tensors[2].values, 0);
}

static void refuses(const char *header, size_t values, const char *why)
{
    if (parse(header, values) == 0)
        TEST_FAIL("accepted: %s", header);
    if (!strstr(err.text, why))
        TEST_FAIL("'%s' does not say '%s'", err.text, why);
}

#define T(name, dtype, shape, from, to)                                                       \
    "\"" name "\": {\"dtype\": \"" dtype "\", \"shape\": " shape ", \"data_offsets\": [" from \
    ", " to "]}"

TEST(safetensors_refuses_what_does_not_fit)
{
    refuses("{" T("a", "F32", "[1]", "0", "4") "}", 3, "ends at byte 4");
    refuses("{" T("a", "F32", "[2]", "0", "4") "}", 4, "its shape and type need 8");
    refuses("{" T("a", "F31", "[1]", "0", "4") "}", 4, "'F31'");
    refuses("{" T("a", "F32", "[-1]", "0", "4") "}", 4, "negative");
    refuses("{" T("a", "F32", "[2147483648, 2147483648, 2147483648]", "0", "4") "}", 4,
            "too large");
    refuses("{" T("a", "F32", "[9223372036854775807]", "0", "4") "}", 4, "too large");
    refuses("{" T("a", "F32", "[1]", "4", "0") "}", 4, "ascend");
    refuses("{" T("a", "F32", "[1]", "-4", "0") "}", 4, "ascend");
    refuses("{" T("a", "F32", "[1,1,1,1,1,1,1,1,1]", "0", "4") "}", 4, "at most 8");
    refuses("{" T("a", "F32", "{}", "0", "4") "}", 4, "shape");
    refuses("{" T("a", "F32", "[1]", "0", "4") "," T("b", "F32", "[1]", "0", "4") "}", 4,
            "overlaps");
    refuses("{" T("a", "F32", "[1]", "0", "4") "," T("b", "F16", "[1]", "2", "4") "}", 4,
            "overlaps");
    refuses("{" T("a", "F32", "[1]", "4", "8") "}", 8, "bytes of no tensor");
    refuses("{" T("a", "F32", "[1]", "0", "4") "}", 8, "belong to no tensor");
    refuses("{" T("a", "F32", "[1]", "0", "4") "," T("a", "F32", "[1]", "4", "8") "}", 8, "twice");
    refuses("{\"a\": 7}", 0, "described by a number");
    refuses("{\"a\": {\"shape\": [1]}}", 0, "no dtype");
    refuses("[]", 0, "not an object");
}

TEST(safetensors_refuses_a_header_that_lies_about_its_length)
{
    CHECK_INT(parse_length("{}", 3, 0), LLMOS_EFORMAT);
    CHECK_INT(parse_length("{}", UINT64_MAX, 0), LLMOS_EFORMAT);
    CHECK_INT(parse_length("{}", (uint64_t)INT64_MAX, 0), LLMOS_EFORMAT);
    CHECK_INT(parse_length("{}", UINT64_MAX - 7, 0), LLMOS_EFORMAT);
    arena_init(&arena, 1024);
    CHECK_INT(safetensors_parse(&file, &arena, STR("1234567"), "m", &err), LLMOS_EFORMAT);
    CHECK(strstr(err.text, "is the download complete?"));
}

TEST(safetensors_survives_every_failed_allocation)
{
    unsigned long n = 0;
    int rc;

    do {
        mem_fail_at(++n);
        rc = parse("{" T("a\\u0041", "F32", "[1]", "0", "4") "," T("b", "F32", "[1]", "4", "8") "}",
                   8);
        CHECK(rc == 0 || rc == LLMOS_ENOMEM);
    } while (mem_failed());
    mem_fail_at(0);
    CHECK_INT(rc, 0);
    arena_fini(&arena);
}
