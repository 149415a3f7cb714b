//! Tells the linker what to do with relocations. There is one for each pointer in constant data, some 50,000, and all are read at the start: packed they
//! are a megabyte less in memory for as long as the gateway runs. Where code is moved after the link, as `cargo xtask release` does, whoever moves it
//! needs those of the code as well, and cannot read packed ones.

use std::env;
use std::process::Command;

/// Set to `kept` for a build whose code will be moved.
const RELOCATIONS: &str = "TOLLGATE_RELOCATIONS";

/// The first version of glibc that reads packed relocations.
const GLIBC: (u32, u32) = (2, 36);

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-env-changed={RELOCATIONS}");
    if env::var(RELOCATIONS).is_ok_and(|relocations| relocations == "kept") {
        println!("cargo:rustc-link-arg-bin=tollgate=-Wl,--emit-relocs");
    } else if is_packed() {
        println!("cargo:rustc-link-arg-bin=tollgate=-Wl,-z,pack-relative-relocs");
    }
}

/// Whether this is for the machine that builds, and that has such a glibc. One that is older would not start the program.
fn is_packed() -> bool {
    let is = |name: &str, value: &str| env::var(name).is_ok_and(|it| it == value);
    let is_native = env::var("TARGET").ok().zip(env::var("HOST").ok()).is_some_and(|(a, b)| a == b);
    is_native
        && is("CARGO_CFG_TARGET_OS", "linux")
        && is("CARGO_CFG_TARGET_ENV", "gnu")
        && glibc().is_some_and(|version| version >= GLIBC)
}

fn glibc() -> Option<(u32, u32)> {
    let said = Command::new("getconf").arg("GNU_LIBC_VERSION").output().ok()?.stdout;
    let said = String::from_utf8(said).ok()?;
    let (major, rest) = said.trim().strip_prefix("glibc ")?.split_once('.')?;
    let minor = rest.split('.').next()?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}
