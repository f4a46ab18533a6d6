//! What the numbers were measured on, and whether it was quiet.

use std::fs;

/// The machine as far as it matters for the numbers.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Machine {
    cpu: String,
    cores: usize,
    memory_kib: Option<u64>,
    kernel: String,
    /// The frequency governor; a virtual machine has none.
    governor: Option<String>,
    /// Runnable tasks on average over the last minute.
    load: Option<f64>,
}

impl Machine {
    /// This one, now.
    pub(super) fn here() -> Machine {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let governor = read("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor");
        Machine {
            cpu: cpu_model(&read("/proc/cpuinfo")).unwrap_or("unknown CPU").to_owned(),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            memory_kib: memory_kib(&read("/proc/meminfo")),
            kernel: format!("{} {}", version(&read("/proc/sys/kernel/osrelease")), std::env::consts::ARCH),
            governor: Some(governor.trim().to_owned()).filter(|g| !g.is_empty()),
            load: load(&read("/proc/loadavg")),
        }
    }

    /// One line for the document.
    pub(super) fn line(&self) -> String {
        let memory = match self.memory_kib {
            Some(kib) => format!("{:.0} GiB", kib as f64 / f64::from(1 << 20)),
            None => "unknown memory".to_owned(),
        };
        let cores = if self.cores == 1 { "1 core".to_owned() } else { format!("{} cores", self.cores) };
        let governor = self.governor.as_deref().unwrap_or("none");
        format!("Machine: {}, {cores}, {memory}, Linux {}, governor {governor}.", self.cpu, self.kernel)
    }

    /// What makes its numbers doubtful.
    pub(super) fn warnings(&self) -> Vec<String> {
        // A tenth of the cores at work already shows in the spread of short rows.
        const BUSY_PER_CORE: f64 = 0.1;
        let mut warnings = Vec::new();
        if let Some(load) = self.load.filter(|load| *load > BUSY_PER_CORE * self.cores as f64) {
            warnings.push(format!("this machine is not quiet: load {load:.2} on {} core(s)", self.cores));
        }
        if let Some(governor) = self.governor.as_deref().filter(|g| *g != "performance") {
            warnings.push(format!("the CPU changes its clock: governor {governor}"));
        }
        warnings
    }
}

fn cpu_model(cpuinfo: &str) -> Option<&str> {
    cpuinfo.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        (name.trim() == "model name").then_some(value.trim())
    })
}

/// The version without what a builder appended: that names a machine more than a kernel.
fn version(osrelease: &str) -> &str {
    osrelease.trim().split('-').next().unwrap_or_default()
}

fn memory_kib(meminfo: &str) -> Option<u64> {
    meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?.split_whitespace().next()?.parse().ok()
}

fn load(loadavg: &str) -> Option<f64> {
    loadavg.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quiet() -> Machine {
        Machine {
            cpu: "A CPU".to_owned(),
            cores: 2,
            memory_kib: Some(24 << 20),
            kernel: "6.18.0 x86_64".to_owned(),
            governor: None,
            load: Some(0.05),
        }
    }

    /// Checks the line of a known machine.
    #[test]
    fn the_line_names_what_matters() {
        assert_eq!(quiet().line(), "Machine: A CPU, 2 cores, 24 GiB, Linux 6.18.0 x86_64, governor none.");
    }

    /// Checks that a quiet machine is not warned of, and that load and a changing clock are.
    #[test]
    fn restlessness_is_warned_of() {
        assert_eq!(quiet().warnings(), [""; 0]);
        let busy = Machine { load: Some(1.5), governor: Some("powersave".to_owned()), ..quiet() };
        assert_eq!(busy.warnings().len(), 2);
        assert!(busy.warnings()[0].contains("load 1.50 on 2"));
    }

    /// Checks the files of /proc as they are written.
    #[test]
    fn the_files_are_read() {
        assert_eq!(cpu_model("processor\t: 0\nmodel name\t: A CPU @ 2 GHz\n"), Some("A CPU @ 2 GHz"));
        assert_eq!(memory_kib("MemTotal:       24567890 kB\nMemFree: 1 kB\n"), Some(24_567_890));
        assert_eq!(version("6.12.4-custom-7\n"), "6.12.4");
        assert_eq!(load("0.52 0.30 0.10 1/83 8962\n"), Some(0.52));
        assert_eq!((cpu_model(""), memory_kib(""), load("")), (None, None, None));
    }
}
