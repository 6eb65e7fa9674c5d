/* SPDX-License-Identifier: Apache-2.0 */
/* hfopen_test.c - which files of a folder are opened, and which folders are refused */
#include "sched/hfopen.h"

#include "base/file.h"
#include "test.h"

#include <fcntl.h>
#include <sys/stat.h>

static char folder[64];
static struct hfopen h;
static struct llmos_error err;

static void put(const char *name, const char *text)
{
    char path[128];

    snprintf(path, sizeof(path), "%s/%s", folder, name);
    CHECK_INT(file_replace(path, str_of(text), &err), 0);
}

static void begin(void)
{
    strcpy(folder, "/tmp/hfopen-XXXXXX");
    CHECK(mkdtemp(folder));
    err = (struct llmos_error){0};
    put("config.json", "{}");
}

static void end(void)
{
    char command[128];

    snprintf(command, sizeof(command), "rm -rf '%s'", folder);
    CHECK_INT(system(command), 0);
}

TEST(hfopen_opens_what_is_known_and_nothing_else)
{
    char path[128], other[128];

    begin();
    put("model.safetensors", "x");
    put("notes.txt", "x");
    put("merges.txt", ""); /* as good as none */
    snprintf(path, sizeof(path), "%s/vocab.json", folder);
    snprintf(other, sizeof(other), "%s/notes.txt", folder);
    CHECK_INT(symlink(other, path), 0); /* as Hugging Face keeps them */
    CHECK_INT(hfopen_open(&h, folder, &err), 0);
    CHECK_INT(h.count, 3);
    CHECK_INT(h.bytes, 4);
    for (unsigned i = 0; i < h.count; i++)
        CHECK_INT(fcntl(h.fds[i], F_GETFL) & O_ACCMODE, O_RDONLY);
    hfopen_close(&h);
    CHECK(hfopen_is_folder(folder) && !hfopen_is_folder(other));
    end();
}

TEST(hfopen_follows_the_index_only_to_names_beside_it)
{
    begin();
    put("a.safetensors", "x");
    put(HFFOLDER_INDEX, "{\"weight_map\": {\"t\": \"a.safetensors\"}}");
    CHECK_INT(hfopen_open(&h, folder, &err), 0);
    CHECK_INT(h.count, 3);
    hfopen_close(&h);
    put(HFFOLDER_INDEX, "{\"weight_map\": {\"t\": \"b.safetensors\"}}");
    CHECK_INT(hfopen_open(&h, folder, &err), LLMOS_ENOTFOUND);
    CHECK(strstr(err.text, "is the download complete?"));
    put(HFFOLDER_INDEX, "{\"weight_map\": {\"t\": \"../../etc/passwd\"}}");
    CHECK_INT(hfopen_open(&h, folder, &err), LLMOS_EFORMAT);
    put(HFFOLDER_INDEX, "{\"weight_map\"");
    CHECK_INT(hfopen_open(&h, folder, &err), LLMOS_EFORMAT);
    end();
}

TEST(hfopen_refuses_pickles_and_says_why)
{
    begin();
    CHECK_INT(hfopen_open(&h, folder, &err), LLMOS_ENOTFOUND);
    put("pytorch_model.bin", "x");
    CHECK_INT(hfopen_open(&h, folder, &err), LLMOS_EUNSUPPORTED);
    CHECK(strstr(err.text, "runs the code that is in it"));
    end();
}

TEST(hfopen_refuses_what_is_no_regular_file)
{
    char path[128];

    begin();
    snprintf(path, sizeof(path), "%s/model.safetensors", folder);
    CHECK_INT(mkfifo(path, 0600), 0);
    CHECK(hfopen_open(&h, folder, &err) < 0);
    CHECK(err.text[0]);
    end();
}
