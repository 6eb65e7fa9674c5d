/* SPDX-License-Identifier: Apache-2.0 */
#include "base/file.h"

#include "base/mem.h"
#include "test.h"

#include <fcntl.h>
#include <sys/stat.h>

static char folder[] = "/tmp/llmos-file-XXXXXX";

static const char *in_folder(const char *name)
{
    static char path[256];

    if (strstr(folder, "XXXXXX") && !mkdtemp(folder))
        abort();
    snprintf(path, sizeof(path), "%s/%s", folder, name);
    return path;
}

TEST(file_opens_only_regular_files)
{
    struct llmos_error err = {0};

    CHECK(file_open_regular("/", &err) < 0);
    CHECK_STR(err.text, "cannot open '/': it is a directory, a regular file is needed");
    CHECK(file_open_regular("/dev/random", &err) < 0);
    CHECK_CONTAINS(err.text, "a character device");
    CHECK(mkfifo(in_folder("fifo"), 0600) == 0);
    CHECK(file_open_regular(in_folder("fifo"), &err) < 0); /* and does not wait for a writer */
    CHECK_CONTAINS(err.text, "a pipe");
    CHECK(symlink("loop", in_folder("loop")) == 0);
    CHECK(file_open_regular(in_folder("loop"), &err) < 0);
    CHECK_CONTAINS(err.text, "symbolic links");
    CHECK_INT(file_open_regular(in_folder("absent"), &err), LLMOS_ENOTFOUND);
    unlink(in_folder("fifo"));
    unlink(in_folder("loop"));
}

TEST(file_replace_leaves_the_new_bytes_and_nothing_else)
{
    struct buf b;

    buf_init(&b, 100);
    CHECK_INT(file_replace(in_folder("a"), STR("first"), NULL), 0);
    CHECK_INT(file_replace(in_folder("a"), STR("second"), NULL), 0);
    CHECK_INT(file_read(in_folder("a"), &b, NULL), 0);
    CHECK_STR(b.at, "second");
    unlink(in_folder("a"));
    CHECK(rmdir(folder) == 0); /* no temporary file was left */
    CHECK(mkdir(folder, 0700) == 0);
    buf_fini(&b);
}

TEST(file_read_stops_at_the_limit_of_its_buffer)
{
    struct llmos_error err = {0};
    struct buf b;

    buf_init(&b, 3);
    CHECK_INT(file_replace(in_folder("b"), STR("12345"), NULL), 0);
    CHECK_INT(file_read(in_folder("b"), &b, &err), LLMOS_ELIMIT);
    unlink(in_folder("b"));
    buf_fini(&b);
}

TEST(file_map_shows_the_bytes_and_refuses_an_empty_file)
{
    struct llmos_error err = {0};
    struct file_map m;
    int fd;

    CHECK_INT(file_replace(in_folder("c"), STR("abc"), NULL), 0);
    fd = file_open_regular(in_folder("c"), NULL);
    CHECK_INT(file_map(&m, fd, NULL), 0);
    close(fd);
    CHECK_INT(m.len, 3);
    CHECK(memcmp(m.at, "abc", 3) == 0);
    file_unmap(&m);
    CHECK_INT(file_replace(in_folder("c"), STR(""), NULL), 0);
    fd = file_open_regular(in_folder("c"), NULL);
    CHECK_INT(file_map(&m, fd, &err), LLMOS_EFORMAT);
    CHECK_STR(err.text, "the file is empty");
    close(fd);
    unlink(in_folder("c"));
    rmdir(folder);
}
