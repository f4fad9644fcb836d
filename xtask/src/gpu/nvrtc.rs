//! The real NVRTC, which needs no GPU: it compiles the kernels that were executed.

use std::collections::BTreeMap;
use std::env;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;

use anyhow::Context;

use super::standins::{Standins, Unavailable};

/// What kernels are compiled for: A100, and H100 with what only it has.
const ARCHITECTURES: [&str; 2] = ["sm_80", "sm_90a"];

/// Prints where pip puts the library, and the folders of the headers.
const PLACES: &str = "\
import importlib.util, glob, os
def folder(name):
    spec = importlib.util.find_spec('nvidia.' + name)
    return list(spec.submodule_search_locations)[0]
print(glob.glob(os.path.join(folder('cuda_nvrtc'), 'lib', 'libnvrtc.so.*'))[0])
print(os.pathsep.join(os.path.join(folder(name), 'include') for name in ('cuda_runtime', 'cuda_nvcc', 'cuda_cccl')))
";

/// The packages of pip in which they are.
const PACKAGES: &str = "nvidia-cuda-nvrtc-cu12, nvidia-cuda-runtime-cu12, nvidia-cuda-nvcc-cu12 and nvidia-cuda-cccl-cu12";

/// NVRTC's library, and the headers that kernels include.
pub struct Nvrtc {
    library: PathBuf,
    /// Folders, as in `PATH`.
    include: OsString,
}

/// What became of the kernels for one architecture.
pub struct Compiled {
    pub architecture: &'static str,
    pub accepted: usize,
    /// NVRTC's words.
    pub refused: Vec<String>,
}

impl Nvrtc {
    /// Those that were named, or else those of `RECALL_NVRTC` and `RECALL_CUDA_INCLUDE`, or else those that the
    /// Python of `RECALL_PYTHON`, or `python3`, has of pip.
    pub fn find(library: Option<&Path>, include: Option<&OsStr>) -> Result<Self, Unavailable> {
        let named = |named: Option<&OsStr>, variable| {
            named.map(OsStr::to_owned).or_else(|| env::var_os(variable))
        };
        let found = match (
            named(library.map(Path::as_os_str), "RECALL_NVRTC"),
            named(include, "RECALL_CUDA_INCLUDE"),
        ) {
            (Some(library), Some(include)) => Self {
                library: library.into(),
                include,
            },
            (None, None) => Self::of_python()?,
            (Some(_), None) => {
                return Err(Unavailable(
                    "RECALL_NVRTC names NVRTC, and RECALL_CUDA_INCLUDE not the headers that it needs".into(),
                ));
            }
            (None, Some(_)) => {
                return Err(Unavailable(
                    "RECALL_CUDA_INCLUDE names headers, and RECALL_NVRTC no library to use them"
                        .into(),
                ));
            }
        };
        let folders = env::split_paths(&found.include);
        if let Some(missing) = [found.library.clone()]
            .into_iter()
            .chain(folders)
            .find(|path| !path.exists())
        {
            return Err(Unavailable(format!("{} is not there", missing.display())));
        }
        Ok(found)
    }

    fn of_python() -> Result<Self, Unavailable> {
        let python = env::var_os("RECALL_PYTHON").unwrap_or_else(|| "python3".into());
        let lines = Command::new(&python)
            .args(["-c", PLACES])
            .output()
            .ok()
            .filter(|output| output.status.success())
            .and_then(|output| String::from_utf8(output.stdout).ok());
        let lines = lines.as_deref().unwrap_or_default();
        match lines.lines().collect::<Vec<_>>()[..] {
            [library, include] => Ok(Self {
                library: library.into(),
                include: include.into(),
            }),
            _ => Err(Unavailable(format!(
                "NVRTC is not here: {} has not {PACKAGES} of pip, and RECALL_NVRTC names no library",
                python.display()
            ))),
        }
    }

    /// Compiles all kernels of these folders for each architecture.
    pub fn compile(
        &self,
        standins: &Standins,
        folders: &[PathBuf],
    ) -> anyhow::Result<Vec<Compiled>> {
        // Kernels of two capabilities may be the same one, and then have the same name.
        let mut kernels = BTreeMap::new();
        for folder in folders {
            for entry in fs::read_dir(folder).with_context(|| folder.display().to_string())? {
                let entry = entry?;
                kernels.insert(entry.file_name(), entry.path());
            }
        }
        let kernels: Vec<_> = kernels.into_values().collect();
        let program = standins.program(
            "compile_kernels",
            &standins.source("compile_kernels.cpp"),
            false,
        )?;
        ARCHITECTURES
            .into_iter()
            .map(|architecture| self.compile_for(&program, architecture, &kernels))
            .collect()
    }

    fn compile_for(
        &self,
        program: &Path,
        architecture: &'static str,
        kernels: &[PathBuf],
    ) -> anyhow::Result<Compiled> {
        let cores = thread::available_parallelism().map_or(1, usize::from);
        let share = kernels.len().div_ceil(cores).max(1);
        // One process for each core: NVRTC compiles one kernel at a time.
        let running: Vec<_> = kernels
            .chunks(share)
            .map(|kernels| {
                let mut command = Command::new(program);
                command
                    .arg(&self.library)
                    .arg(&self.include)
                    .arg(architecture)
                    .args(kernels)
                    .stdout(Stdio::piped());
                // It loads a library of its own from the folder of the first.
                if let Some(folder) = self.library.parent() {
                    command.env("LD_LIBRARY_PATH", folder);
                }
                command.spawn()
            })
            .collect::<Result<_, _>>()
            .context("compile_kernels does not start")?;
        let mut compiled = Compiled {
            architecture,
            accepted: 0,
            refused: Vec::new(),
        };
        for process in running {
            let output = process.wait_with_output()?;
            anyhow::ensure!(
                output.status.success(),
                Unavailable(format!("NVRTC in {} does not work", self.library.display()))
            );
            let text = String::from_utf8_lossy(&output.stdout);
            for line in text.split('\u{1e}').map(str::trim) {
                match line.strip_prefix("refused ") {
                    Some(log) => compiled.refused.push(log.to_owned()),
                    None => compiled.accepted += usize::from(line == "accepted"),
                }
            }
        }
        anyhow::ensure!(
            compiled.accepted + compiled.refused.len() == kernels.len(),
            "NVRTC answered for {} of {} kernels",
            compiled.accepted + compiled.refused.len(),
            kernels.len()
        );
        Ok(compiled)
    }
}
