/* A dynamic library that is a drowse provider in C, for tests of the ABI. Defines select its deviations:
 * MAJOR, MINOR, FUNCTIONS (the number of table entries), NAME (one letter), SYMBOL, and GARBAGE, with
 * which `start` answers invalid bytes. */

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#ifndef MAJOR
#define MAJOR 1
#endif
#ifndef MINOR
#define MINOR 0
#endif
#ifndef FUNCTIONS
#define FUNCTIONS 17
#endif
#ifndef NAME
#define NAME "o"
#endif
#ifndef SYMBOL
#define SYMBOL drowse_provider_table
#endif

typedef struct { const uint8_t *data; size_t len; } bytes;
typedef struct { void *context; void (*take)(void *context, bytes answer); } sink;
typedef struct host {
    void *context;
    uint32_t (*call)(void *context, bytes function, bytes arguments, sink answer);
} host;
typedef uint32_t (*entry)(const host *host, bytes arguments, sink answer);

static struct {
    uint32_t size, major, minor, reserved;
    entry functions[FUNCTIONS];
} table;

static uint32_t answer(sink to, const char *text, size_t len) {
    bytes all = {(const uint8_t *)text, len};
    to.take(to.context, all);
    return 0;
}

#define ANSWER(to, text) answer(to, text, sizeof(text) - 1)

/* OK, name, version 1.0, no summary, abilities, endpoints, commands or networks, two schemas, no
 * attributes. */
static uint32_t describe(const host *host, bytes arguments, sink to) {
    return ANSWER(to, "\0\1" NAME "\3" "1.0" "\0\0\0\0\0\2{}\2{}\0");
}

static uint32_t nothing(const host *host, bytes arguments, sink to) {
    return ANSWER(to, "\0");
}

/* OK, handle x, running, native status up, no id, health none, nothing else. */
#define OBSERVATION "\0\1x\0\2up\0\0\0\0\0\0"

static uint32_t start(const host *host, bytes arguments, sink to) {
#ifdef GARBAGE
    return ANSWER(to, "\377\377\377\377");
#else
    return ANSWER(to, OBSERVATION);
#endif
}

static uint32_t stop(const host *host, bytes arguments, sink to) {
    return 77;
}

static void forget_answer(void *context, bytes answer) {}

/* Succeeds only if the router does not know `moon.phase`. */
static uint32_t status(const host *host, bytes arguments, sink to) {
    static const char name[] = "moon.phase";
    bytes function = {(const uint8_t *)name, sizeof name - 1}, none = {(const uint8_t *)name, 0};
    sink ignored = {NULL, forget_answer};
    if (host->call(host->context, function, none, ignored) != 2)
        return 77;
    return ANSWER(to, OBSERVATION);
}

/* Calls the host with invalid arguments. */
static uint32_t pause_(const host *host, bytes arguments, sink to) {
    static const char name[] = "clock.sleep";
    bytes function = {(const uint8_t *)name, sizeof name - 1}, none = {(const uint8_t *)name, 0};
    sink ignored = {NULL, forget_answer};
    host->call(host->context, function, none, ignored);
    return ANSWER(to, OBSERVATION);
}

const void *SYMBOL(void) {
    static const entry all[] = {describe, nothing, nothing, start, stop, status, pause_};
    table.size = sizeof table;
    table.major = MAJOR;
    table.minor = MINOR;
    for (size_t i = 0; i < FUNCTIONS && i < sizeof all / sizeof *all; i++)
        table.functions[i] = all[i];
    return &table;
}
