/* SPDX-License-Identifier: Apache-2.0 */
/* client.c - see client.h */
#include "net/client.h"

#include "base/mem.h"

#include <ctype.h>
#include <curl/curl.h>
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#define REPLY_MAX_BYTES (1u << 20)
#define TIMEOUT_MS      10000

struct receiving {
    struct buf *reply;
    size_t left; /* bytes that may still come */
    bool too_large;
};

static size_t receive(char *bytes, size_t size, size_t count, void *cookie)
{
    struct receiving *r = cookie;
    size_t n = size * count; /* curl: size is 1 */

    if (n > r->left) {
        r->too_large = true;
        return 0;
    }
    r->left -= n;
    buf_put(r->reply, bytes, n);
    return r->reply->bad ? 0 : n;
}

static int cannot_connect(const char *path, CURL *curl, struct llmos_error *err)
{
    long number = 0;
    struct stat st;

    curl_easy_getinfo(curl, CURLINFO_OS_ERRNO, &number);
    if (number == EACCES || number == EPERM)
        return fail(err, LLMOS_EDENIED, "the daemon at '%s' belongs to another user", path);
    if (stat(path, &st) == 0 && !S_ISSOCK(st.st_mode))
        return fail(err, LLMOS_EINVAL, "'%s' is not a socket", path);
    return fail(err, LLMOS_ENOTFOUND,
                "no daemon listens at '%s'; start one with: llmos serve --model NAME=FILE", path);
}

static int explain(CURLcode code, CURL *curl, const struct client_request *q,
                   const struct receiving *r, unsigned timeout_ms, struct llmos_error *err)
{
    if (r->too_large)
        return fail(err, LLMOS_ELIMIT, "the daemon's reply to %s %s is too large", q->method,
                    q->path);
    if (r->reply->bad)
        return buf_check(r->reply, "the daemon's reply", err);
    switch (code) {
    case CURLE_COULDNT_CONNECT:
        return cannot_connect(q->socket_path, curl, err);
    case CURLE_OPERATION_TIMEDOUT:
        return fail(err, LLMOS_EIO, "the daemon at '%s' did not answer %s %s within %u ms",
                    q->socket_path, q->method, q->path, timeout_ms);
    case CURLE_OUT_OF_MEMORY:
        return fail(err, LLMOS_ENOMEM, "no memory to ask the daemon");
    case CURLE_GOT_NOTHING:
    case CURLE_PARTIAL_FILE:
    case CURLE_RECV_ERROR:
    case CURLE_SEND_ERROR:
        return fail(err, LLMOS_ECLOSED, "the daemon at '%s' hung up before its answer was complete",
                    q->socket_path);
    default:
        return fail(err, LLMOS_EIO, "cannot ask the daemon at '%s': %s", q->socket_path,
                    curl_easy_strerror(code));
    }
}

static CURLcode configure(CURL *curl, const struct client_request *q, const char *url,
                          struct curl_slist *headers, unsigned timeout_ms, struct receiving *r)
{
    const struct {
        CURLoption option;
        long value;
    } numbers[] = {
        {CURLOPT_TIMEOUT_MS, (long)timeout_ms},
        {CURLOPT_NOSIGNAL, 1},
        {CURLOPT_FOLLOWLOCATION, 0},
        {CURLOPT_HTTP09_ALLOWED, 0},
        {CURLOPT_PATH_AS_IS, 1}, /* a model called ".." stays one segment */
        {CURLOPT_HTTP_VERSION, CURL_HTTP_VERSION_1_1},
        {CURLOPT_NETRC, CURL_NETRC_IGNORED},
    };
    CURLcode code = CURLE_OK;

    for (size_t i = 0; code == CURLE_OK && i < sizeof(numbers) / sizeof(numbers[0]); i++)
        code = curl_easy_setopt(curl, numbers[i].option, numbers[i].value);
#define SET(option, value) code = code == CURLE_OK ? curl_easy_setopt(curl, option, value) : code
    SET(CURLOPT_URL, url);
    SET(CURLOPT_PROTOCOLS_STR, "http");
    SET(CURLOPT_PROXY, "");
    SET(CURLOPT_UNIX_SOCKET_PATH, q->socket_path);
    SET(CURLOPT_HTTPHEADER, headers);
    SET(CURLOPT_WRITEFUNCTION, receive);
    SET(CURLOPT_WRITEDATA, r);
    if (strcmp(q->method, "POST") == 0) {
        SET(CURLOPT_POST, 1L);
        SET(CURLOPT_POSTFIELDS, q->body.len ? q->body.at : "");
        SET(CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)q->body.len);
    } else {
        SET(CURLOPT_CUSTOMREQUEST, q->method);
    }
#undef SET
    return code;
}

int client_call(const struct client_request *q, struct buf *reply, struct llmos_error *err)
{
    unsigned timeout_ms = q->timeout_ms ? q->timeout_ms : TIMEOUT_MS;
    struct receiving r = {reply, q->reply_max_bytes ? q->reply_max_bytes : REPLY_MAX_BYTES, false};
    struct curl_slist *headers;
    char url[2048];
    long status = 0;
    CURLcode code;
    CURL *curl;
    int rc;

    if ((size_t)snprintf(url, sizeof(url), "http://localhost%s", q->path) >= sizeof(url))
        return fail(err, LLMOS_ELIMIT, "a name of %zu bytes is too long", strlen(q->path));
    curl = curl_easy_init();
    headers = curl_slist_append(NULL, "Content-Type: application/json");
    if (!curl || !headers) {
        curl_easy_cleanup(curl);
        curl_slist_free_all(headers);
        return fail(err, LLMOS_ENOMEM, "no memory to ask the daemon");
    }
    code = configure(curl, q, url, headers, timeout_ms, &r);
    if (code == CURLE_OK)
        code = curl_easy_perform(curl);
    if (code == CURLE_OK)
        code = curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
    if (code != CURLE_OK)
        rc = explain(code, curl, q, &r, timeout_ms, err);
    else
        rc = status >= 100 && status <= 599
                 ? (int)status
                 : fail(err, LLMOS_EFORMAT, "the daemon answered with the status %ld", status);
    curl_easy_cleanup(curl);
    curl_slist_free_all(headers);
    return rc;
}

void client_put_segment(struct buf *out, const char *name)
{
    for (const unsigned char *c = (const unsigned char *)name; *c; c++) {
        bool plain = *c < 0x80 && (isalnum(*c) || strchr("-._~", *c));

        if (plain)
            buf_putc(out, (char)*c);
        else
            buf_printf(out, "%%%02X", *c);
    }
}
