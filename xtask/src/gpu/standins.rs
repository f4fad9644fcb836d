//! What stands in for NVIDIA's driver and NVRTC: C++ that is a part of this program, compiled by g++ where it
//! runs.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context;

macro_rules! sources {
    ($($name:literal),* $(,)?) => {
        [$(($name, include_str!(concat!("../../emulate/", $name)))),*]
    };
}

/// All of it, by the paths under which it includes itself.
const SOURCES: [(&str, &str); 23] = sources![
    "compile_kernels.cpp",
    "driver/block.cpp",
    "driver/checks.cpp",
    "driver/device.cpp",
    "driver/fibers.cpp",
    "driver/findings.cpp",
    "driver/launch.cpp",
    "driver/memory.cpp",
    "driver/module.cpp",
    "driver/queue.cpp",
    "driver/runtime.h",
    "driver/source.cpp",
    "include/cooperative_groups.h",
    "include/cooperative_groups/memcpy_async.h",
    "include/cuda/barrier",
    "include/cuda_bf16.h",
    "include/cuda_fp16.h",
    "include/cuda_runtime.h",
    "include/emulate.h",
    "include/kernel_entry.h",
    "include/mma.h",
    "include/ptx.h",
    "include/small_float.h",
];
const NVRTC: &str = include_str!("../../emulate/nvrtc.cpp");

/// How g++ compiles a kernel: with a call before each access to memory, and no more than that.
const COMPILE_KERNEL: &str = "-std=c++17 -O1 -w -fPIC -fsanitize=kernel-address \
     --param asan-instrumentation-with-call-threshold=0 --param asan-stack=0 --param asan-globals=0";

/// The libraries, built.
pub struct Standins {
    root: PathBuf,
    compiler: OsString,
}

/// What is told in one sentence, with exit code 2.
#[derive(Debug)]
pub struct Unavailable(pub String);

impl std::fmt::Display for Unavailable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Unavailable {}

impl Standins {
    /// Builds them beside this program, where they are not there from an earlier run of it.
    pub fn build() -> anyhow::Result<Self> {
        let program = env::current_exe().context("where this program lies is not known")?;
        let folder = program
            .parent()
            .context("this program lies nowhere")?
            .join("emulate");
        Self::build_in(&folder)
    }

    /// The same in a folder.
    pub fn build_in(folder: &Path) -> anyhow::Result<Self> {
        let compiler = env::var_os("CXX").unwrap_or_else(|| OsString::from("g++"));
        let version = version_of(&compiler)?;
        // What was built by another compiler or from other sources is not this.
        let root = folder.join(format!("{:016x}", hash(&version)));
        let standins = Self { root, compiler };
        for (name, text) in SOURCES.into_iter().chain([("nvrtc.cpp", NVRTC)]) {
            let path = standins.source(name);
            let folder = path.parent().unwrap_or(&path);
            fs::create_dir_all(folder)
                .and_then(|()| fs::write(&path, text))
                .with_context(|| path.display().to_string())?;
        }
        fs::create_dir_all(standins.cache())?;
        fs::create_dir_all(standins.libraries())?;
        standins.header()?;
        standins.library("libcuda.so", &standins.driver())?;
        standins.library("libnvrtc.so", &[standins.source("nvrtc.cpp")])?;
        Ok(standins)
    }

    fn driver(&self) -> Vec<PathBuf> {
        SOURCES
            .iter()
            .filter(|(name, _)| name.starts_with("driver/") && name.ends_with(".cpp"))
            .map(|(name, _)| self.source(name))
            .collect()
    }

    /// Compiles what each kernel includes first, once.
    fn header(&self) -> anyhow::Result<()> {
        let header = self.include().join("cuda_runtime.h");
        let compiled = self.include().join("cuda_runtime.h.gch");
        if compiled.exists() {
            return Ok(());
        }
        let mut command = Command::new(&self.compiler);
        command
            .args(COMPILE_KERNEL.split_whitespace())
            .args(["-x", "c++-header"])
            .arg(&header)
            .arg("-o")
            .arg(&compiled);
        self.run(command, "cuda_runtime.h")
    }

    fn library(&self, name: &str, sources: &[PathBuf]) -> anyhow::Result<()> {
        let path = self.libraries().join(name);
        if path.exists() {
            return Ok(());
        }
        let part = self
            .libraries()
            .join(format!("{name}.{}", std::process::id()));
        let mut command = Command::new(&self.compiler);
        command
            .args(["-std=c++17", "-O2", "-shared", "-fPIC", "-pthread"])
            .arg(format!("-Wl,-soname,{name}"))
            .arg("-I")
            .arg(self.include())
            .arg("-o")
            .arg(&part)
            .args(sources)
            .arg("-ldl");
        self.run(command, name)?;
        fs::rename(&part, &path).with_context(|| path.display().to_string())
    }

    /// Compiles a program that comes with the libraries, and gives its path.
    pub fn program(&self, name: &str, source: &Path, linked: bool) -> anyhow::Result<PathBuf> {
        let path = self.root.join(name);
        if path.exists() {
            return Ok(path);
        }
        let mut command = Command::new(&self.compiler);
        command
            .args(["-std=c++17", "-O1"])
            .arg("-o")
            .arg(&path)
            .arg(source);
        if linked {
            command
                .arg("-L")
                .arg(self.libraries())
                .args(["-lcuda", "-lnvrtc"]);
        }
        command.arg("-ldl");
        self.run(command, name)?;
        Ok(path)
    }

    fn run(&self, mut command: Command, what: &str) -> anyhow::Result<()> {
        let output = command.output().context("g++ does not start")?;
        anyhow::ensure!(
            output.status.success(),
            "{} does not compile {what}:\n{}",
            self.compiler.display(),
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(())
    }

    /// A file of [`SOURCES`].
    pub fn source(&self, name: &str) -> PathBuf {
        self.root.join("source").join(name)
    }

    fn include(&self) -> PathBuf {
        self.source("include")
    }

    /// Compiled kernels.
    fn cache(&self) -> PathBuf {
        self.root.join("kernels")
    }

    /// Where a program finds the libraries.
    fn libraries(&self) -> PathBuf {
        self.root.join("lib")
    }

    /// Where the run of a compute capability leaves its kernels and its report.
    pub fn run_folder(&self, capability: u8) -> PathBuf {
        self.root.join(format!("run-{capability}"))
    }

    /// Makes a command find the stand-ins and write to a folder, which is emptied.
    pub fn provide(
        &self,
        command: &mut Command,
        capability: u8,
        folder: &Path,
    ) -> anyhow::Result<()> {
        if folder.exists() {
            fs::remove_dir_all(folder).with_context(|| folder.display().to_string())?;
        }
        fs::create_dir_all(folder.join("kernels"))?;
        let mut path = OsString::from(self.libraries());
        if let Some(others) = env::var_os("LD_LIBRARY_PATH") {
            path.push(":");
            path.push(others);
        }
        let mut compile = self.compiler.clone();
        compile.push(" ");
        compile.push(COMPILE_KERNEL);
        command
            .env("LD_LIBRARY_PATH", path)
            // CubeCL asks for the folder and passes it to NVRTC, which does not look.
            .env("CUDA_PATH", &self.root)
            .env("EMULATE_DIR", folder)
            .env("EMULATE_CACHE", self.cache())
            .env("EMULATE_INCLUDE", self.include())
            .env("EMULATE_COMPILE", compile)
            .env("EMULATE_CC", capability.to_string());
        Ok(())
    }
}

fn version_of(compiler: &OsString) -> anyhow::Result<String> {
    let output = Command::new(compiler).arg("--version").output();
    let name = compiler.display();
    match output {
        Ok(output) if output.status.success() => {
            Ok(String::from_utf8_lossy(&output.stdout).into_owned())
        }
        Err(error) if error.kind() == ErrorKind::NotFound => Err(Unavailable(format!(
            "{name} is not here, and the emulation compiles each kernel with it; install g++, or name one in CXX"
        ))
        .into()),
        _ => Err(Unavailable(format!("{name} --version fails, so it cannot compile kernels")).into()),
    }
}

/// FNV-1a of the compiler's version, the flags and the sources.
fn hash(version: &str) -> u64 {
    let texts = SOURCES.iter().flat_map(|(name, text)| [*name, *text]);
    [version, COMPILE_KERNEL, NVRTC]
        .into_iter()
        .chain(texts)
        .flat_map(str::bytes)
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        })
}
