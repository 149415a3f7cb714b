//! Compiles the definitions of Envoy's API: all of them to descriptors, those of the services to Rust types.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::{env, fs};

use prost::Message;
use prost_types::FileDescriptorSet;

/// The files whose messages and services are used as Rust types.
const SERVICES: [&str; 4] = [
    "envoy/service/accesslog/v3/als.proto",
    "envoy/service/discovery/v3/ads.proto",
    "envoy/service/ext_proc/v3/external_processor.proto",
    "envoy/service/ratelimit/v3/rls.proto",
];

fn main() -> Result<(), Box<dyn Error>> {
    let folder = Path::new("proto");
    println!("cargo::rerun-if-changed=proto");
    let out = PathBuf::from(env::var_os("OUT_DIR").ok_or("no OUT_DIR")?);
    let mut files = Vec::new();
    list(folder, &mut files)?;
    files.sort();
    fs::write(out.join("envoy.binpb"), compile(folder, &files)?.encode_to_vec())?;
    tonic_prost_build::configure()
        .build_transport(false)
        .bytes(".envoy.service.ext_proc.v3")
        .bytes(".envoy.config.core.v3.HeaderValue")
        .include_file("services.rs")
        .compile_fds(compile(folder, &SERVICES)?)?;
    Ok(())
}

/// Descriptors of these files and all that they import, without comments.
fn compile(folder: &Path, files: &[impl AsRef<Path>]) -> Result<FileDescriptorSet, Box<dyn Error>> {
    let mut compiler = protox::Compiler::new([folder])?;
    compiler.include_imports(true).include_source_info(false).open_files(files)?;
    Ok(compiler.file_descriptor_set())
}

fn list(folder: &Path, files: &mut Vec<PathBuf>) -> std::io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            list(&path, files)?;
        } else if path.extension().is_some_and(|extension| extension == "proto") {
            files.push(path);
        }
    }
    Ok(())
}
