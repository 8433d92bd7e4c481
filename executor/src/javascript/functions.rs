//! The C functions of QuickJS that the host calls.

use wasmtime::{Instance, Store, TypedFunc};

use crate::sandbox::Sandbox;

macro_rules! functions {
    ($($field:ident: $name:literal $parameters:ty => $result:ty;)*) => {
        /// Exported functions by their parameters. Values are `i64`, addresses `u32`, atoms `u32`.
        pub(super) struct Functions {
            $(pub(super) $field: TypedFunc<$parameters, $result>,)*
        }

        impl Functions {
            /// Looks all of them up.
            pub(super) fn of(instance: &Instance, store: &mut Store<Sandbox>) -> wasmtime::Result<Self> {
                Ok(Self { $($field: instance.get_typed_func(&mut *store, $name)?,)* })
            }
        }
    };
}

functions! {
    malloc: "malloc" u32 => u32;
    free: "free" u32 => ();
    context: "qjs_get_context_ptr" () => u32;
    runtime: "qjs_get_runtime_ptr" () => u32;
    set_up: "qjs_init" () => i32;
    track_rejections: "qjs_set_promise_rejection_handler" i32 => ();
    load_modules: "qjs_set_module_loader" i32 => ();
    host_function: "qjs_new_host_function" (u32, u32, i32) => u32;
    set_table: "JS_SetContextOpaque" (u32, u32) => ();
    table: "JS_GetContextOpaque" u32 => u32;
    set_stack_size: "JS_SetMaxStackSize" (u32, u32) => ();
    update_stack_top: "JS_UpdateStackTop" u32 => ();
    evaluate: "JS_Eval" (u32, u32, u32, u32, i32) => i64;
    run_compiled: "JS_EvalFunction" (u32, i64) => i64;
    module_names: "JS_GetModuleNamespace" (u32, u32) => i64;
    call: "JS_Call" (u32, i64, i64, i32, u32) => i64;
    exception: "JS_GetException" u32 => i64;
    is_error: "JS_IsError" i64 => i32;
    is_array: "JS_IsArray" i64 => i32;
    is_function: "JS_IsFunction" (u32, i64) => i32;
    is_map: "JS_IsMap" i64 => i32;
    is_set: "JS_IsSet" i64 => i32;
    is_date: "JS_IsDate" i64 => i32;
    is_regexp: "JS_IsRegExp" i64 => i32;
    is_proxy: "JS_IsProxy" i64 => i32;
    proxy_target: "JS_GetProxyTarget" (u32, i64) => i64;
    is_promise: "JS_IsPromise" i64 => i32;
    typed_array: "JS_GetTypedArrayType" i64 => i32;
    to_bool: "JS_ToBool" (u32, i64) => i32;
    to_float: "JS_ToFloat64" (u32, u32, i64) => i32;
    to_text: "JS_ToCStringLen2" (u32, u32, i64, i32) => u32;
    free_text: "JS_FreeCString" (u32, u32) => ();
    length: "JS_GetLength" (u32, i64, u32) => i32;
    property: "JS_GetProperty" (u32, i64, u32) => i64;
    property_at: "JS_GetPropertyUint32" (u32, i64, u32) => i64;
    property_named: "JS_GetPropertyStr" (u32, i64, u32) => i64;
    set_property: "JS_SetPropertyStr" (u32, i64, u32, i64) => i32;
    property_names: "JS_GetOwnPropertyNames" (u32, u32, u32, i64, i32) => i32;
    atom_text: "JS_AtomToCStringLen" (u32, u32, u32) => u32;
    prototype: "JS_GetPrototype" (u32, i64) => i64;
    release: "JS_FreeValue" (u32, i64) => ();
    new_object: "JS_NewObject" u32 => i64;
    parse_json: "JS_ParseJSON" (u32, u32, u32, u32) => i64;
    is_job_pending: "JS_IsJobPending" u32 => i32;
    run_job: "JS_ExecutePendingJob" (u32, u32) => i32;
    promise_state: "JS_PromiseState" (u32, i64) => i32;
    promise_result: "JS_PromiseResult" (u32, i64) => i64;
}
