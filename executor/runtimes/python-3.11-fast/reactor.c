// CPython 3.11 as a module that a host drives: how it starts, and what the host calls that 3.11 does not have yet.
//
// The host calls `_initialize`, which starts the C library, and then `rltrain_initialize`, both once; it keeps a picture of
// the memory and starts every program from that. From then on it calls functions of CPython's C interface by their names.

#include <Python.h>

// Where the host shows the standard library.
#define STDLIB L"/usr/local/lib/python311.zip"
#define PREFIX L"/usr/local"

// Fills in everything that `Py_InitializeFromConfig` would otherwise look for: there are no files to find.
static PyStatus configure(PyConfig *config) {
    config->use_hash_seed = 1;
    config->hash_seed = 0;
    config->install_signal_handlers = 0;
    config->write_bytecode = 0;
    config->pathconfig_warnings = 0;
    config->module_search_paths_set = 1;
    PyStatus status = PyWideStringList_Append(&config->module_search_paths, STDLIB);
    struct {
        wchar_t **field;
        const wchar_t *value;
    } const settings[] = {
        {&config->program_name, L"python3"},
        {&config->executable, PREFIX L"/bin/python3"},
        {&config->base_executable, PREFIX L"/bin/python3"},
        {&config->home, PREFIX},
        {&config->prefix, PREFIX},
        {&config->exec_prefix, PREFIX},
        {&config->base_prefix, PREFIX},
        {&config->base_exec_prefix, PREFIX},
        {&config->stdlib_dir, STDLIB},
        {&config->platlibdir, L"lib"},
    };
    for (size_t i = 0; i < sizeof settings / sizeof *settings && !PyStatus_Exception(status); i++) {
        status = PyConfig_SetString(config, settings[i].field, settings[i].value);
    }
    return status;
}

// Starts an isolated interpreter in UTF-8 mode. Returns 0, or 1 with the reason on stderr.
int rltrain_initialize(void) {
    PyPreConfig preconfig;
    PyPreConfig_InitIsolatedConfig(&preconfig);
    preconfig.utf8_mode = 1;
    PyStatus status = Py_PreInitialize(&preconfig);
    if (!PyStatus_Exception(status)) {
        PyConfig config;
        PyConfig_InitIsolatedConfig(&config);
        status = configure(&config);
        if (!PyStatus_Exception(status)) {
            status = Py_InitializeFromConfig(&config);
        }
        PyConfig_Clear(&config);
    }
    if (PyStatus_Exception(status)) {
        fprintf(stderr, "the interpreter does not start: %s\n", status.err_msg ? status.err_msg : "no reason given");
        return 1;
    }
    return 0;
}

// As in 3.12: the pending exception with its traceback, no longer pending.
PyObject *PyErr_GetRaisedException(void) {
    PyObject *type, *value, *traceback;
    PyErr_Fetch(&type, &value, &traceback);
    if (type == NULL) {
        return NULL;
    }
    PyErr_NormalizeException(&type, &value, &traceback);
    if (traceback != NULL) {
        PyException_SetTraceback(value, traceback);
        Py_DECREF(traceback);
    }
    Py_DECREF(type);
    return value;
}

// As in 3.13: constants by number. NULL for a number that has none.
PyObject *Py_GetConstantBorrowed(unsigned int number) {
    static PyObject *zero, *one, *text, *bytes, *tuple;
    switch (number) {
        case 0: return Py_None;
        case 1: return Py_False;
        case 2: return Py_True;
        case 3: return Py_Ellipsis;
        case 4: return Py_NotImplemented;
        case 5: return zero ? zero : (zero = PyLong_FromLong(0));
        case 6: return one ? one : (one = PyLong_FromLong(1));
        case 7: return text ? text : (text = PyUnicode_FromStringAndSize("", 0));
        case 8: return bytes ? bytes : (bytes = PyBytes_FromStringAndSize("", 0));
        case 9: return tuple ? tuple : (tuple = PyTuple_New(0));
        default: return NULL;
    }
}

// As in 3.15: compiles source, warnings of which would be filed under `module`, which 3.11 cannot do.
PyObject *_Py_CompileString(
    const char *source, PyObject *filename, int start, PyCompilerFlags *flags, int optimize, PyObject *module
) {
    (void)module;
    return Py_CompileStringObject(source, filename, start, flags, optimize);
}
