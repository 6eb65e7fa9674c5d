/* SPDX-License-Identifier: Apache-2.0 */
/* jinja_rowfilter.h - the filters of chat templates that work on lists and dicts; jinja_filter.c
 * has the table they stand in. */
#ifndef MODEL_JINJA_ROWFILTER_H
#define MODEL_JINJA_ROWFILTER_H

#include "model/jinja_call.h"

#define JINJA_FILTER(name)                                                           \
    struct jinja_value filter_##name(struct jinja_store *s, struct jinja_value self, \
                                     struct jinja_args *a)

JINJA_FILTER(batch);
JINJA_FILTER(dictsort);
JINJA_FILTER(first);
JINJA_FILTER(groupby);
JINJA_FILTER(items);
JINJA_FILTER(join);
JINJA_FILTER(last);
JINJA_FILTER(list);
JINJA_FILTER(map);
JINJA_FILTER(max);
JINJA_FILTER(min);
JINJA_FILTER(reject);
JINJA_FILTER(rejectattr);
JINJA_FILTER(reverse);
JINJA_FILTER(select);
JINJA_FILTER(selectattr);
JINJA_FILTER(slice);
JINJA_FILTER(sort);
JINJA_FILTER(sum);
JINJA_FILTER(unique);

#endif
