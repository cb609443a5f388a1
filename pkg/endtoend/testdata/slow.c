// The library of SoftHSM, but C_Sign takes as long as there is
// a file SLOW_WHILE, for keys on the token SLOW_TOKEN.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef unsigned long ulong_t;

// The list of functions of PKCS #11 2.40: a version, and 68 pointers in a fixed order.
enum { FUNCTIONS = 68, GET_FUNCTION_LIST = 3, GET_TOKEN_INFO = 6, GET_SESSION_INFO = 15, SIGN = 43 };
struct list { unsigned char version[2]; void *function[FUNCTIONS]; };

static struct list ours, *theirs;

static ulong_t slow_sign(ulong_t session, void *data, ulong_t length, void *signature, ulong_t *signature_length) {
	struct { ulong_t slot, state, flags, error; } info;
	unsigned char token[512]; // begins with the label, 32 octets
	const char *slow = getenv("SLOW_TOKEN"), *file = getenv("SLOW_WHILE");
	ulong_t (*session_info)(ulong_t, void *) = theirs->function[GET_SESSION_INFO];
	ulong_t (*token_info)(ulong_t, void *) = theirs->function[GET_TOKEN_INFO];
	ulong_t (*sign)(ulong_t, void *, ulong_t, void *, ulong_t *) = theirs->function[SIGN];
	if (slow && file && session_info(session, &info) == 0 && token_info(info.slot, token) == 0 && memcmp(token, slow, strlen(slow)) == 0)
		while (access(file, F_OK) == 0)
			usleep(20000);
	return sign(session, data, length, signature, signature_length);
}

ulong_t C_GetFunctionList(struct list **out) {
	if (!theirs) {
		const char *paths[] = {"/usr/lib/softhsm/libsofthsm2.so", "/usr/lib64/pkcs11/libsofthsm2.so", "/usr/lib64/softhsm/libsofthsm2.so", "/usr/local/lib/softhsm/libsofthsm2.so"};
		void *library = NULL;
		for (unsigned i = 0; i < sizeof paths / sizeof *paths && !library; i++)
			library = dlopen(paths[i], RTLD_NOW | RTLD_LOCAL);
		ulong_t (*get)(struct list **) = library ? dlsym(library, "C_GetFunctionList") : NULL;
		if (!get || get(&theirs) != 0)
			return 5; // CKR_GENERAL_ERROR
		ours = *theirs;
		ours.function[GET_FUNCTION_LIST] = C_GetFunctionList;
		ours.function[SIGN] = slow_sign;
	}
	*out = &ours;
	return 0;
}
