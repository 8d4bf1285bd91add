//! Small components that are expensive to compile.

/// Header of a core module.
const MODULE: &[u8] = b"\0asm\x01\0\0\0";
/// Header of a component.
const COMPONENT: &[u8] = b"\0asm\x0d\0\x01\0";
/// Name of the export that makes a component a provider.
const PROVIDER: &str = "drowse:provider/provider@0.1.0";

/// A component with `count` trivial functions.
pub fn functions(count: usize) -> Vec<u8> {
    // No locals; a constant; dropped; end.
    component(&module(count, &[0, 0x41, 0, 0x1a, 0x0b]))
}

/// A component with one function with `count` blocks, each with a branch out of it.
pub fn branches(count: usize) -> Vec<u8> {
    let mut body = vec![0];
    for _ in 0..count {
        // A block; a constant; leave the block if it is not zero; end of the block.
        body.extend([0x02, 0x40, 0x41, 0, 0x0d, 0, 0x0b]);
    }
    body.push(0x0b);
    component(&module(1, &body))
}

/// A component with one function with blocks nested `depth` deep.
pub fn blocks(depth: usize) -> Vec<u8> {
    let mut body = vec![0];
    body.extend([0x02, 0x40].repeat(depth));
    body.extend([0x0b].repeat(depth + 1));
    component(&module(1, &body))
}

/// A component with one function with a branch table of `targets` entries.
pub fn table(targets: usize) -> Vec<u8> {
    let mut body = vec![0, 0x41, 0, 0x0e];
    body.extend(leb(targets));
    body.extend(vec![0; targets + 1]);
    body.push(0x0b);
    component(&module(1, &body))
}

/// A component with one function of `bytes` no-op bytes.
pub fn long(bytes: usize) -> Vec<u8> {
    let mut body = vec![1; bytes];
    (body[0], body[bytes - 1]) = (0, 0x0b);
    component(&module(1, &body))
}

/// A component with `functions` functions with 50,000 local variables each.
pub fn locals(functions: usize) -> Vec<u8> {
    let variables = [vec![1], leb(50_000), vec![0x7e, 0x0b]].concat();
    component(&module(functions, &variables))
}

/// A component with `count` identical types.
pub fn types(count: usize) -> Vec<u8> {
    let mut types = leb(count);
    types.extend([0x60, 0, 0].repeat(count));
    component(&[MODULE, &section(1, &types)].concat())
}

/// A component with `count` empty data segments.
pub fn segments(count: usize) -> Vec<u8> {
    let mut segments = leb(count);
    segments.extend([0x01, 0].repeat(count));
    component(&[MODULE, &section(11, &segments)].concat())
}

/// Components nested `depth` deep.
pub fn nested(depth: usize) -> Vec<u8> {
    let mut inner = COMPONENT.to_vec();
    for _ in 0..depth {
        inner = [COMPONENT, &section(4, &inner)].concat();
    }
    inner
}

/// A component that exports the provider interface and contains this core module.
pub fn component(module: &[u8]) -> Vec<u8> {
    let instance = section(5, &[1, 1, 0]);
    let mut export = vec![1, 0];
    export.extend(leb(PROVIDER.len()));
    export.extend(PROVIDER.as_bytes());
    // Sort instance, index 0, type inferred.
    export.extend([5, 0, 0]);
    [COMPONENT, &section(1, module), &instance, &section(11, &export)].concat()
}

/// A core module with `count` functions with this body, without parameters and results.
fn module(count: usize, body: &[u8]) -> Vec<u8> {
    let types = section(1, &[1, 0x60, 0, 0]);
    let functions = section(3, &[leb(count), vec![0; count]].concat());
    let body = [leb(body.len()), body.to_vec()].concat();
    let code = section(10, &[leb(count), body.repeat(count)].concat());
    [MODULE, &types, &functions, &code].concat()
}

fn section(id: u8, content: &[u8]) -> Vec<u8> {
    [&[id], leb(content.len()).as_slice(), content].concat()
}

/// LEB128 encoding of a number.
fn leb(mut number: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let low = (number & 0x7f) as u8;
        number >>= 7;
        if number == 0 {
            bytes.push(low);
            return bytes;
        }
        bytes.push(low | 0x80);
    }
}
