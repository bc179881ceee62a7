/* test_conf_get.c - what a plugin reads of its own object, through conf_get_*() and weft_conf_*(). */
#include "conf_impl.h"

#include <check.h>
#include <errno.h>
#include <string.h>

#include <weft.h>

#define PLUGIN_CONFIG                                                                                                  \
	"{\"instances\":[{\"name\":\"a\",\"plugin\":\"p\",\n\"config\":{\"n\":7,\n\"f\":1.5,\"s\":\"text\","           \
	"\"b\":true,\"d\":\"250ms\",\"sub\":{\"n\":8,\"rest\":1},\n\"list\":[1],\"never\":null}}]}"

static struct conf *load(const char *text)
{
	struct conf_error err = { "" };
	struct conf *c = NULL;
	int rc = conf_parse(text, strlen(text), "f", &c, &err);

	ck_assert_msg(rc == 0, "%s: %s", text, err.text);
	return c;
}

START_TEST(getters_find_values_and_leave_the_default_when_a_key_is_absent)
{
	struct conf *c = load(PLUGIN_CONFIG);
	const struct conf_node *n = c->instances[0].config;
	const char *s = "default";
	struct conf_error err;
	int64_t v = -1;
	bool b = false;

	ck_assert_int_eq(conf_get_int(n, "n", 7, 7, &v, &err), 1);
	ck_assert_int_eq(v, 7);
	ck_assert_int_eq(conf_get_dur(n, "d", &v, &err), 1);
	ck_assert_int_eq(v, 250 * WEFT_MS);
	ck_assert_int_eq(conf_get_bool(n, "b", &b, &err), 1);
	ck_assert(b);
	ck_assert_int_eq(conf_get_str(n, "x", &s, &err), 0);
	ck_assert_str_eq(s, "default");
	ck_assert_int_eq(conf_get_str(n, "s", &s, &err), 1);
	ck_assert_str_eq(s, "text");
	ck_assert_int_eq(conf_get_int(conf_get_sub(n, "sub"), "n", 0, 9, &v, &err), 1);
	ck_assert_int_eq(v, 8);
	ck_assert_ptr_null(conf_get_sub(n, "x"));
	ck_assert_ptr_null(conf_get_sub(n, "list"));
	ck_assert_int_eq(conf_get_int(NULL, "n", 0, 9, &v, &err), 0);
	ck_assert_int_eq(conf_get_bool(NULL, "n", &b, &err), 0);
	ck_assert_ptr_null(conf_get_sub(NULL, "n"));
	ck_assert_int_eq(v, 8);
	conf_free(c);
}
END_TEST

START_TEST(getters_name_line_and_path_of_a_wrong_value)
{
	struct conf *c = load(PLUGIN_CONFIG);
	const struct conf_node *n = c->instances[0].config;
	const char *s = "default";
	struct conf_error err;
	int64_t v = -1;
	bool b = false;

	ck_assert_int_eq(conf_get_int(n, "n", 8, 9, &v, &err), -EINVAL);
	ck_assert_str_eq(err.text,
			 "f:2: instances[0].config.n: this is the number 7; allowed: a whole number from 8 to 9");
	ck_assert_int_eq(conf_get_int(n, "f", 0, 9, &v, &err), -EINVAL);
	ck_assert_str_eq(err.text,
			 "f:3: instances[0].config.f: this is the number 1.5 (with a point or exponent); allowed: "
			 "a whole number from 0 to 9");
	ck_assert_int_eq(conf_get_dur(n, "s", &v, &err), -EINVAL);
	ck_assert_str_eq(
		err.text,
		"f:3: instances[0].config.s: this is the string \"text\"; allowed: a duration such as \"1.5s\" "
		"(units h, m, s, ms, us, ns)");
	ck_assert_int_eq(conf_get_bool(conf_get_sub(n, "sub"), "n", &b, &err), -EINVAL);
	ck_assert_str_eq(err.text, "f:3: instances[0].config.sub.n: this is the number 8; allowed: true or false");
	ck_assert_int_eq(conf_get_str(n, "list", &s, &err), -EINVAL);
	ck_assert_str_eq(err.text, "f:4: instances[0].config.list: this is a list; allowed: a string");
	ck_assert_int_eq(conf_get_str(n, "never", &s, &err), -EINVAL);
	ck_assert_str_eq(err.text, "f:4: instances[0].config.never: this is null; allowed: a string");
	ck_assert_int_eq(v, -1);
	ck_assert(!b);
	ck_assert_str_eq(s, "default");
	conf_free(c);
}
END_TEST

static void collect(void *user, const char *path)
{
	strcat(user, path);
	strcat(user, " ");
}

START_TEST(keys_that_nobody_asked_for_are_told)
{
	struct conf *c = load(PLUGIN_CONFIG);
	const struct conf_node *n = c->instances[0].config;
	struct conf_error err;
	char told[512] = "";
	const char *s;
	int64_t v;

	conf_get_int(n, "n", 0, 9, &v, &err);
	conf_get_str(n, "f", &s, &err); /* wrong, but asked for */
	conf_get_int(conf_get_sub(n, "sub"), "n", 0, 9, &v, &err);
	ck_assert_ptr_null(conf_get_sub(n, "list"));
	conf_unused(n, collect, told);

	ck_assert_str_eq(told, "instances[0].config.s instances[0].config.b instances[0].config.d "
			       "instances[0].config.sub.rest instances[0].config.list instances[0].config.never ");
	conf_unused(NULL, collect, told);
	conf_free(c);
}
END_TEST

START_TEST(weft_getters_return_zero_for_found_and_for_absent)
{
	struct conf *c = load(PLUGIN_CONFIG);
	const weft_conf *w = (const weft_conf *)c->instances[0].config;
	const char *s = "default";
	int64_t v = -1;
	bool b = false;

	ck_assert_int_eq(weft_conf_int(w, "x", 0, 9, &v), 0);
	ck_assert_int_eq(v, -1);
	ck_assert_int_eq(weft_conf_int(weft_conf_sub(w, "sub"), "n", 0, 9, &v), 0);
	ck_assert_int_eq(v, 8);
	ck_assert_int_eq(weft_conf_dur(w, "d", &v), 0);
	ck_assert_int_eq(v, 250 * WEFT_MS);
	ck_assert_int_eq(weft_conf_bool(w, "b", &b), 0);
	ck_assert(b);
	ck_assert_int_eq(weft_conf_str(NULL, "s", &s), 0);
	ck_assert_str_eq(s, "default");
	ck_assert_int_eq(weft_conf_str(w, "s", &s), 0);
	ck_assert_str_eq(s, "text");
	ck_assert_ptr_null(weft_conf_sub(w, "list"));
	conf_free(c);
}
END_TEST

Suite *test_conf_get(void);

Suite *test_conf_get(void)
{
	Suite *s = suite_create("conf_get");
	TCase *t = tcase_create("getters");

	tcase_add_test(t, getters_find_values_and_leave_the_default_when_a_key_is_absent);
	tcase_add_test(t, getters_name_line_and_path_of_a_wrong_value);
	tcase_add_test(t, keys_that_nobody_asked_for_are_told);
	tcase_add_test(t, weft_getters_return_zero_for_found_and_for_absent);
	suite_add_tcase(s, t);
	return s;
}
