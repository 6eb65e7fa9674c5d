/* SPDX-License-Identifier: Apache-2.0 */
/* admin.c - see admin.h */
#include "cli/admin.h"

#include "base/json.h"
#include "base/mem.h"
#include "base/paths.h"

#define REPLY_MAX (4u << 20) /* a thousand models with all their layers */

/* OpenAI's error object: {"error": {"message": "..."}} */
static int refused(int status, const json_t *reply, struct llmos_error *err)
{
    const char *message =
        json_string_value(json_object_get(json_object_get(reply, "error"), "message"));
    int code = status == 404   ? LLMOS_ENOTFOUND
               : status == 403 ? LLMOS_EDENIED
               : status == 409 ? LLMOS_EBUSY
                               : LLMOS_EIO;

    if (message)
        return fail(err, code, "%s", message);
    return fail(err, code, "the daemon answered with the status %d", status);
}

int admin_call(const char *socket, const char *method, const char *path, json_t **reply,
               struct buf *text, struct llmos_error *err)
{
    static const struct json_limits limits = {REPLY_MAX, 16, 1u << 17};
    struct client_request q = {
        .socket_path = socket, .method = method, .path = path, .reply_max_bytes = REPLY_MAX};
    CLEANUP(buf) struct buf bytes = {.at = NULL};
    char found[200];
    json_t *value = NULL;
    int status, rc;

    if (!socket) {
        rc = path_socket(found, sizeof(found), err);
        if (rc < 0)
            return rc;
        q.socket_path = found;
    }
    buf_init(&bytes, REPLY_MAX);
    status = client_call(&q, &bytes, err);
    if (status < 0)
        return status;
    rc = json_parse(&value, buf_str(&bytes), &limits, err);
    if (status >= 300) {
        rc = refused(status, rc < 0 ? NULL : value, err);
        json_decref(value);
        return rc;
    }
    if (rc < 0)
        return fail_while(err, rc, "the daemon's reply to %s %s", method, path);
    if (!json_is_object(value)) {
        json_decref(value);
        return fail(err, LLMOS_EFORMAT, "the daemon's reply to %s %s is not an object", method,
                    path);
    }
    if (text)
        buf_put(text, bytes.at, bytes.len);
    *reply = value;
    return 0;
}
