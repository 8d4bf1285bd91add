//! What wit-bindgen makes of the contract in `wit/v0.1`: the types that [`words`](crate::words)
//! and its neighbours give to people, the imports and the export glue.

wit_bindgen::generate!({
    path: "../wit/v0.1",
    world: "plugin",
    pub_export_macro: true,
    export_macro_name: "export_component",
    default_bindings_module: "drowse_provider_sdk::bindings",
    additional_derives: [PartialEq, Eq, serde::Serialize, serde::Deserialize],
    // It has a float: it gets what it can have in `words`.
    additional_derives_ignore: ["response", "messages", "resource-usage"],
});
