/*
 * A drowse provider in C: granted programs that sleep and wake, like the bundled provider `process`,
 * with only the required functions.
 *
 * Each call runs in an instance of its own, which is dropped afterwards, so leftover memory is never
 * freed. The bindings free returned values, so their texts are copies.
 */

#include <stdlib.h>
#include <string.h>

#include "plugin.h"

typedef drowse_provider_command_process_t process_t;
typedef drowse_provider_types_description_t description_t;
typedef drowse_provider_types_error_t error_t;
typedef drowse_provider_types_observation_t observation_t;
typedef drowse_provider_types_status_t status_t;
typedef drowse_provider_types_target_t target_t;

/* Timeout for a killed process to end, in milliseconds. */
#define KILL_MS 5000

/* A status value. */
#define STATUS(word) ((status_t){.tag = DROWSE_PROVIDER_TYPES_STATUS_##word})

static plugin_string_t text(const char *words)
{
    plugin_string_t copy;
    plugin_string_dup(&copy, words);
    return copy;
}

static plugin_string_t same(const plugin_string_t *words)
{
    plugin_string_t copy;
    plugin_string_dup_n(&copy, (const char *)words->ptr, words->len);
    return copy;
}

/* Observation of a target. Its program listens on 127.0.0.1, on the port of the route. */
static observation_t seen(const target_t *target, status_t status, const char *word)
{
    observation_t seen;
    memset(&seen, 0, sizeof seen);
    seen.handle = same(&target->handle);
    seen.status = status;
    seen.native_status = text(word);
    seen.health.tag = DROWSE_PROVIDER_TYPES_HEALTH_NONE;
    if (status.tag == DROWSE_PROVIDER_TYPES_STATUS_RUNNING) {
        seen.addresses.ptr = calloc(1, sizeof *seen.addresses.ptr);
        seen.addresses.len = 1;
        seen.addresses.ptr[0].host = text("127.0.0.1");
    }
    return seen;
}

static bool runs(const process_t *process)
{
    return process->state.tag != DROWSE_PROVIDER_COMMAND_STATE_EXITED;
}

static observation_t observe(const target_t *target, const process_t *process)
{
    switch (process->state.tag) {
    case DROWSE_PROVIDER_COMMAND_STATE_RUNNING:
        return seen(target, STATUS(RUNNING), "running");
    case DROWSE_PROVIDER_COMMAND_STATE_PAUSED:
        return seen(target, STATUS(PAUSED), "paused");
    default:
        return seen(target, STATUS(STOPPED), "exited");
    }
}

/* The process of the command with the target's name, if it was ever started. The router's error, such
 * as `denied` with the line to add, is passed on unchanged. */
static bool find(target_t *target, drowse_provider_command_option_process_t *found, error_t *error)
{
    return drowse_provider_command_find(&target->handle, found, error);
}

static void unsupported(error_t *error)
{
    memset(error, 0, sizeof *error);
    error->code.tag = DROWSE_PROVIDER_TYPES_ERROR_CODE_UNSUPPORTED;
    error->message = text("this provider supports only start, stop and status");
}

/* Required functions. */

void exports_drowse_provider_provider_describe(description_t *description)
{
    memset(description, 0, sizeof *description);
    description->name = text("programs-in-c");
    description->version = text("0.1.0");
    description->summary = text("programs of this machine, by a provider in C");
    description->commands.ptr = calloc(1, sizeof *description->commands.ptr);
    description->commands.len = 1;
    description->commands.ptr[0].name = text("*");
    description->commands.ptr[0].purpose = text("the programs that sleep and wake");
    description->settings_schema = text("{\"type\": \"object\", \"additionalProperties\": false}");
    description->target_schema = text("{\"type\": \"object\", \"additionalProperties\": false}");
}

bool exports_drowse_provider_provider_configure(plugin_string_t *settings, error_t *error)
{
    if (settings->len == 2 && memcmp(settings->ptr, "{}", 2) == 0) {
        return true;
    }
    memset(error, 0, sizeof *error);
    error->code.tag = DROWSE_PROVIDER_TYPES_ERROR_CODE_INVALID_REQUEST;
    error->message = text("this provider has no settings; remove them");
    return false;
}

bool exports_drowse_provider_provider_start(target_t *target, observation_t *ret, error_t *error)
{
    drowse_provider_command_option_process_t found;
    if (!find(target, &found, error)) {
        return false;
    }
    process_t process = found.val;
    if (found.is_some && runs(&process)) {
        plugin_string_t resume = text("SIGCONT");
        if (!drowse_provider_command_signal(process.id, &resume, error)) {
            return false;
        }
        process.state.tag = DROWSE_PROVIDER_COMMAND_STATE_RUNNING;
    } else {
        drowse_provider_command_spawn_options_t options;
        memset(&options, 0, sizeof options);
        options.command = target->handle;
        if (!drowse_provider_command_spawn(&options, &process, error)) {
            return false;
        }
    }
    *ret = observe(target, &process);
    return true;
}

bool exports_drowse_provider_provider_stop(
    target_t *target, drowse_provider_types_stop_options_t *options, observation_t *ret,
    error_t *error)
{
    drowse_provider_command_option_process_t found;
    if (!find(target, &found, error)) {
        return false;
    }
    if (!found.is_some) {
        *ret = seen(target, STATUS(STOPPED), "never started");
        return true;
    }
    process_t process = found.val;
    plugin_string_t ask = options->signal.is_some ? options->signal.val : text("SIGTERM");
    plugin_string_t resume = text("SIGCONT"), kill = text("SIGKILL");
    /* A paused process receives the signal only when it continues; an ended one ignores it. */
    if (!drowse_provider_command_signal(process.id, &ask, error)
        || !drowse_provider_command_signal(process.id, &resume, error)
        || !drowse_provider_command_wait(process.id, options->grace_ms, &process.state, error)) {
        return false;
    }
    if (runs(&process)
        && (!drowse_provider_command_signal(process.id, &kill, error)
            || !drowse_provider_command_wait(process.id, KILL_MS, &process.state, error))) {
        return false;
    }
    *ret = observe(target, &process);
    return true;
}

bool exports_drowse_provider_provider_status(target_t *target, observation_t *ret, error_t *error)
{
    drowse_provider_command_option_process_t found;
    if (!find(target, &found, error)) {
        return false;
    }
    *ret = found.is_some ? observe(target, &found.val)
                         : seen(target, STATUS(STOPPED), "never started");
    return true;
}

/* Unsupported functions; `describe` declares no ability. */

#define UNSUPPORTED(name, ...)                                                                     \
    bool exports_drowse_provider_provider_##name(__VA_ARGS__, error_t *error)                      \
    {                                                                                              \
        unsupported(error);                                                                        \
        return false;                                                                              \
    }

#pragma clang diagnostic ignored "-Wunused-parameter"
UNSUPPORTED(pause, target_t *target, observation_t *ret)
UNSUPPORTED(resume, target_t *target, observation_t *ret)
UNSUPPORTED(kill, target_t *target, plugin_string_t *signal, observation_t *ret)
UNSUPPORTED(list, plugin_string_t *cursor, drowse_provider_types_page_t *ret)
UNSUPPORTED(recreate, target_t *target, drowse_provider_types_recreate_options_t *options,
            observation_t *ret)
UNSUPPORTED(fetch, target_t *target)
UNSUPPORTED(remove, target_t *target, drowse_provider_types_remove_options_t *options)
UNSUPPORTED(logs, target_t *target, uint32_t lines, plugin_list_string_t *ret)
UNSUPPORTED(exec, target_t *target, plugin_list_string_t *command, drowse_provider_types_exit_t *ret)
UNSUPPORTED(usage, target_t *target, drowse_provider_types_resource_usage_t *ret)

bool exports_drowse_provider_provider_watch(error_t *error)
{
    unsupported(error);
    return false;
}
