/* SPDX-License-Identifier: Apache-2.0 */
#include "test.h"

#include "base/buf.h"
#include "model/imatrix.h"
#include "modelfile.h"

static const float sums[3] = {8, 0, 2}, more[2] = {1, 3};
static const struct imatrix_sums two[] = {{STR("blk.1.attn_q.weight"), 3, sums, 4},
                                          {STR("blk.0.attn_q.weight"), 2, more, 2}};

static unsigned char *written(size_t *n)
{
    int fd = modelfile_fd("", 0);

    CHECK_INT(imatrix_write(fd, two, 2, STR("text"), 7, 512, NULL), 0);
    return modelfile_bytes(fd, n);
}

static void put_entry(struct buf *b, const char *name, uint32_t calls, const float *v, uint32_t n)
{
    buf_put_str(b, str_of(name));
    buf_put_u32(b, calls);
    buf_put_u32(b, n);
    for (uint32_t i = 0; i < n; i++)
        buf_put_f32(b, v[i]);
}

static struct buf list(uint32_t promised)
{
    struct buf b;

    buf_init(&b, 1 << 16);
    buf_put_u32(&b, promised);
    put_entry(&b, "blk.1.attn_q.weight", 4, sums, 3);
    put_entry(&b, "blk.0.attn_q.weight", 2, more, 2);
    buf_put_u32(&b, 9);
    return b;
}

static void check_means(const struct imatrix *im)
{
    const struct imatrix_entry *e = imatrix_find(im, STR("blk.1.attn_q.weight"));

    CHECK_INT(im->entry_count, 2);
    CHECK(e && e->count == 3);
    CHECK(e->values[0] == 2 && e->values[1] == 0 && e->values[2] == 0.5f);
    e = imatrix_find(im, STR("blk.0.attn_q.weight"));
    CHECK(e && e->values[1] == 1.5f);
    CHECK(!imatrix_find(im, STR("blk.2.attn_q.weight")) && !imatrix_find(im, STR("")));
}

TEST(what_was_written_is_read)
{
    struct imatrix im;
    size_t n;
    unsigned char *bytes = written(&n);

    CHECK_INT(imatrix_parse(&im, bytes, n, NULL), 0);
    free(bytes);
    check_means(&im);
    CHECK_INT(im.chunks, 7);
    imatrix_fini(&im);
}

TEST(the_older_list_is_read)
{
    struct buf b = list(2);
    struct imatrix im;

    CHECK_INT(imatrix_parse(&im, b.at, b.len, NULL), 0);
    check_means(&im);
    CHECK_INT(im.chunks, 9);
    imatrix_fini(&im);
    buf_fini(&b);
}

static void refused(const struct buf *b, const char *why)
{
    struct llmos_error err = {0};
    struct imatrix im;

    CHECK_INT(imatrix_parse(&im, b->at, b->len, &err), LLMOS_EFORMAT);
    CHECK_CONTAINS(err.text, why);
}

TEST(lists_that_lie_are_refused)
{
    static const float bad[] = {1, NAN}, negative[] = {-1};
    struct buf b = list(3);

    refused(&b, "entry 2 has no name, or is cut off");
    buf_fini(&b);
    b = list(0);
    refused(&b, "holds no importance data");
    b.len = 3;
    refused(&b, "holds no importance data");
    buf_clear(&b);
    buf_put_u32(&b, 1);
    put_entry(&b, "a.weight", 1, bad, 2);
    refused(&b, "the importance of column 1 of 'a.weight' is nan");
    buf_clear(&b);
    buf_put_u32(&b, 1);
    put_entry(&b, "a.weight", 1, negative, 1);
    refused(&b, "is -1");
    buf_clear(&b);
    buf_put_u32(&b, 2);
    put_entry(&b, "a.weight", 1, sums, 1);
    put_entry(&b, "a.weight", 1, sums, 1);
    refused(&b, "matrix 'a.weight' stands in the file twice");
    buf_fini(&b);
}

TEST(a_list_cut_anywhere_is_refused)
{
    struct buf b = list(2);

    for (size_t n = 0; n + 4 < b.len; n++) { /* the last number may be missing */
        unsigned char *bytes = malloc(n + 1);
        struct imatrix im;

        memcpy(bytes, b.at, n);
        CHECK_INT(imatrix_parse(&im, bytes, n, NULL), LLMOS_EFORMAT);
        free(bytes);
    }
    buf_fini(&b);
}

TEST(a_model_is_no_importance_data)
{
    const struct synth_options o = MODELFILE_SMALL;
    struct llmos_error err = {0};
    struct imatrix im;
    size_t n;
    unsigned char *bytes = modelfile_bytes(modelfile_synth(&o), &n);

    CHECK_INT(imatrix_parse(&im, bytes, n, &err), LLMOS_EFORMAT);
    CHECK_CONTAINS(err.text, "the file holds no importance data");
    free(bytes);
}

TEST(imatrix_survives_every_failed_allocation)
{
    struct buf b = list(2);
    size_t n;
    unsigned char *bytes = written(&n);

    for (int kind = 0; kind < 2; kind++)
        for (unsigned long i = 1;; i++) {
            struct imatrix im;
            int rc;

            mem_fail_at(i);
            rc = kind ? imatrix_parse(&im, bytes, n, NULL) : imatrix_parse(&im, b.at, b.len, NULL);
            if (rc == 0)
                imatrix_fini(&im);
            if (!mem_failed()) {
                CHECK_INT(rc, 0);
                break;
            }
            CHECK_INT(rc, LLMOS_ENOMEM);
        }
    mem_fail_at(0);
    buf_fini(&b);
    free(bytes);
}
