//! `cargo xtask gpu --emulate`: the checks of the CUDA kernels, without a GPU.
//!
//! This program runs itself again with stand-ins for NVIDIA's libraries in its path; they execute each kernel on
//! the processor and watch every access to memory.

use std::env;
use std::ffi::OsString;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode};
use std::time::Instant;

use anyhow::Context;

use super::nvrtc::Nvrtc;
use super::standins::{Standins, Unavailable};

/// What `gpu` is told about it.
#[derive(clap::Args)]
pub struct Options {
    /// Check the CUDA kernels without a GPU: executed on the processor, from the source that NVRTC would get. Needs
    /// g++
    #[arg(long, conflicts_with_all = ["backend", "quick"])]
    emulate: bool,
    /// Have NVRTC compile the kernels that the last --emulate executed, and execute nothing
    #[arg(long, conflicts_with_all = ["backend", "quick", "emulate"])]
    compile_only: bool,
    /// The compute capabilities whose kernels are executed, without the dot: below 70 without tensor cores
    #[arg(
        long,
        value_name = "CAPABILITIES",
        value_delimiter = ',',
        default_value = "61",
        value_parser = clap::value_parser!(u8).range(61..=90)
    )]
    capability: Vec<u8>,
    /// Backbones of which --emulate takes three steps: convnet, resnet50, vit-s16, dinov2-s14. All but the first take
    /// long
    #[arg(long, value_name = "NAMES", value_delimiter = ',', default_value = "convnet", value_parser = BACKBONES)]
    pub backbones: Vec<String>,
    /// Look at losses of recall-baselines as well, whose kernels take long to compile
    #[arg(long, conflicts_with = "compile_only")]
    pub losses: bool,
    /// NVRTC, which then compiles them, too; without it that of RECALL_NVRTC, or of RECALL_PYTHON's pip
    #[arg(long, value_name = "LIBRARY", requires = "cuda_include")]
    nvrtc: Option<PathBuf>,
    /// The folders of CUDA's headers for NVRTC, with colons between; without it those of RECALL_CUDA_INCLUDE
    #[arg(long, value_name = "FOLDERS", requires = "nvrtc")]
    cuda_include: Option<OsString>,
    /// What --emulate runs with the stand-ins in its path
    #[arg(long, hide = true)]
    pub emulated: bool,
}

/// Those that `parity::emulated` knows, which is only built with a backend.
const BACKBONES: [&str; 4] = ["convnet", "resnet50", "vit-s16", "dinov2-s14"];

/// CubeCL reads it in the folder in which it runs.
const CUBECL: &str = "[autotune]\ncache = \"local\"\n";

/// What is wrong with kernels that are not written here, and does no harm as far as is known.
struct Known {
    /// What the sentence begins with, and what it says.
    kernel: &'static str,
    says: &'static str,
    reason: &'static str,
}

const KNOWN: [Known; 2] = [
    Known {
        kernel: "kernel matmul_entry_",
        says: "with no __syncwarp or __syncthreads between",
        reason: "cubek relies on warps that run in lockstep",
    },
    Known {
        kernel: "kernel select_kernel",
        says: " reads ",
        reason: "an index is looked up for each dimension, and only that of one is used",
    },
];

/// What the stand-ins wrote down.
#[derive(Default)]
struct Report {
    kernels: usize,
    launches: usize,
    found: Vec<String>,
}

impl Options {
    /// The exit code of what is asked for, or none if nothing is.
    pub fn run(&self) -> anyhow::Result<Option<ExitCode>> {
        if !self.emulate && !self.compile_only {
            return Ok(None);
        }
        let done = match self.compile_only {
            true => self.compile(),
            false => self.emulate(),
        };
        match done {
            Ok(right) => Ok(Some(match right {
                true => ExitCode::SUCCESS,
                false => ExitCode::FAILURE,
            })),
            Err(error) if error.is::<Unavailable>() => {
                eprintln!("Error: {error}");
                Ok(Some(ExitCode::from(2)))
            }
            Err(error) => Err(error),
        }
    }

    fn emulate(&self) -> anyhow::Result<bool> {
        let start = Instant::now();
        let standins = Standins::build()?;
        // Found or not before anything takes long.
        let nvrtc = match Nvrtc::find(self.nvrtc.as_deref(), self.cuda_include.as_deref()) {
            Err(error) if self.nvrtc.is_some() => return Err(error.into()),
            found => found,
        };
        // One beside the other: what is executed takes one core, and what is compiled another. All but the first are
        // shown when it is their turn.
        let runs = self
            .capability
            .iter()
            .enumerate()
            .map(|(number, &capability)| self.start(&standins, capability, number == 0))
            .collect::<anyhow::Result<Vec<_>>>()?;
        // All are waited for before one that failed ends this.
        let ended: Vec<_> = runs.into_iter().map(Run::end).collect();
        let mut right = true;
        for was_right in ended {
            right &= was_right?;
        }
        match nvrtc {
            Ok(nvrtc) => right &= self.compile_by(&nvrtc, &standins)?,
            Err(error) => println!("Not compiled by NVRTC: {error}"),
        }
        println!("{} s", start.elapsed().as_secs());
        Ok(right)
    }

    /// Starts to execute the kernels of a compute capability.
    fn start(&self, standins: &Standins, capability: u8, shown: bool) -> anyhow::Result<Run> {
        let folder = standins.run_folder(capability);
        let mut command = Command::new(env::current_exe()?);
        command
            .args(["gpu", "--emulated", "--backbones"])
            .arg(self.backbones.join(","))
            .args(["--capability", &capability.to_string()])
            .args(self.losses.then_some("--losses"));
        standins.provide(&mut command, capability, &folder)?;
        // What is chosen by time here is kept away from real choices.
        fs::write(folder.join("cubecl.toml"), CUBECL)?;
        command
            .env("CUBECL_AUTOTUNE_LEVEL", "minimal")
            .current_dir(&folder);
        let output = (!shown).then(|| folder.join("output.txt"));
        if let Some(output) = &output {
            let file = File::create(output).with_context(|| output.display().to_string())?;
            command.stderr(file.try_clone()?).stdout(file);
        }
        let process = command
            .spawn()
            .context("this program does not start again")?;
        Ok(Run {
            capability,
            folder,
            process,
            output,
        })
    }

    /// Whether products are as exact as those of the CPU: tensor cores multiply in TF32.
    pub fn is_exact(&self) -> bool {
        self.emulated && self.capability.iter().all(|&capability| capability < 70)
    }

    fn compile(&self) -> anyhow::Result<bool> {
        let nvrtc = Nvrtc::find(self.nvrtc.as_deref(), self.cuda_include.as_deref())?;
        let standins = Standins::build()?;
        self.compile_by(&nvrtc, &standins)
    }

    /// Compiles what was executed, prints what came of it, and says whether all of it was accepted.
    fn compile_by(&self, nvrtc: &Nvrtc, standins: &Standins) -> anyhow::Result<bool> {
        let mut folders = Vec::new();
        for &capability in &self.capability {
            let folder = standins.run_folder(capability).join("kernels");
            if !folder.exists() {
                return Err(Unavailable(format!(
                    "there are no kernels to compile: cargo xtask gpu --emulate --capability {capability} executes \
                     them first"
                ))
                .into());
            }
            folders.push(folder);
        }
        let mut right = true;
        for compiled in nvrtc.compile(standins, &folders)? {
            println!(
                "NVRTC for {}: {} kernels accepted, {} refused",
                compiled.architecture,
                compiled.accepted,
                compiled.refused.len()
            );
            for log in &compiled.refused {
                println!("REFUSED: {log}");
            }
            right &= compiled.refused.is_empty();
        }
        Ok(right)
    }
}

/// A run of this program with the stand-ins.
struct Run {
    capability: u8,
    folder: PathBuf,
    process: Child,
    /// What it prints, if that is not seen.
    output: Option<PathBuf>,
}

impl Run {
    /// Waits for its end, shows what it printed and found, and says whether all is as it should be.
    fn end(mut self) -> anyhow::Result<bool> {
        let status = self.process.wait()?;
        if let Some(output) = &self.output {
            print!("{}", String::from_utf8_lossy(&fs::read(output)?));
        }
        let report = Report::read(&self.folder)?;
        println!(
            "\nCompute capability {}.{}: {} kernels executed in {} launches",
            self.capability / 10,
            self.capability % 10,
            report.kernels,
            report.launches,
        );
        for found in &report.found {
            match known(found) {
                Some(reason) => println!("KNOWN, {reason}: {found}"),
                None => println!("FOUND: {found}"),
            }
        }
        if status.code().is_none() {
            println!("FOUND: the run ended by a signal: {status}");
        }
        Ok(status.success() && report.found.iter().all(|found| known(found).is_some()))
    }
}

impl Report {
    fn read(folder: &Path) -> anyhow::Result<Self> {
        let path = folder.join("report.txt");
        let text = fs::read_to_string(&path).context("the emulated run left no report")?;
        let mut report = Self::default();
        for line in text.lines() {
            if let Some(sentence) = line.strip_prefix("found ") {
                report.found.push(sentence.to_owned());
            } else if let Some(counts) = line.strip_prefix("executed ") {
                let counts: Vec<usize> = counts
                    .split(' ')
                    .map(str::parse)
                    .collect::<Result<_, _>>()
                    .with_context(|| format!("{}: {line}", path.display()))?;
                if let [kernels, launches] = counts[..] {
                    (report.kernels, report.launches) = (kernels, launches);
                }
            }
        }
        Ok(report)
    }
}

/// Why a finding is none of this project's, if it is one of those that are known: see docs/cuda.md.
fn known(found: &str) -> Option<&'static str> {
    KNOWN
        .iter()
        .find(|known| found.starts_with(known.kernel) && found.contains(known.says))
        .map(|known| known.reason)
}
