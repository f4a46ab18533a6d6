//! Containers, pods and units by the path of a cgroup: conventions of the programs that make them, not of the kernel.
//!
//! A user may make a cgroup of any name, so this is evidence, never proof. Sources: runc's and systemd's cgroup drivers
//! (`docker-ID.scope`, `cri-containerd-ID.scope`, `crio-ID.scope`, `libpod-ID.scope`), the kubelet
//! (`kubepods-burstable-podUID.slice` or `kubepods/burstable/podUID`), LXC (`lxc.payload.NAME`), systemd-machined
//! (`machine-NAME.scope`), and unit names of systemd.unit(5).

use vmatlas_event::{Container, Runtime, Workload};

/// What a cgroup's path says of those in it.
pub fn parse(path: &[u8]) -> Workload {
    // The kernel adds this to a cgroup that was removed while somebody is still in it.
    let path = path.strip_suffix(b" (deleted)").unwrap_or(path);
    let mut workload = Workload::default();
    let mut parent: &[u8] = b"";
    for part in path.split(|b| *b == b'/').filter(|part| !part.is_empty()) {
        // runc without systemd, given a path meant for systemd: slice:prefix:id.
        for part in part.split(|b| *b == b':') {
            if let Some(container) = container(parent, part) {
                workload.container = Some(container);
                // What is above a container is the machinery that runs it.
                workload.unit = None;
            } else if let Some(pod) = pod(parent, part) {
                workload.pod = Some(pod);
            } else if let Some(name) = unit(part, workload.unit.as_deref()) {
                workload.unit = Some(name);
            }
            parent = part;
        }
    }
    workload
}

fn container(parent: &[u8], part: &[u8]) -> Option<Container> {
    let is = |runtime, id: &[u8]| Some(Container { runtime, id: id.to_vec() });
    let name = part.strip_suffix(b".scope").unwrap_or(part);
    if let Some(machine) = part.strip_suffix(b".scope").and_then(|p| p.strip_prefix(b"machine-")) {
        return is(Runtime::Machine, &unescape_unit(machine));
    }
    if let Some(machine) = part.strip_suffix(b".service").and_then(|p| p.strip_prefix(b"systemd-nspawn@")) {
        return is(Runtime::Machine, &unescape_unit(machine));
    }
    // lxc.monitor.NAME is the process that watches the container.
    if let Some(lxc) = part.strip_prefix(b"lxc.payload.").filter(|name| !name.is_empty()) {
        return is(Runtime::Lxc, lxc);
    }
    if matches!(parent, b"lxc" | b"lxc.payload") {
        return is(Runtime::Lxc, part);
    }
    if is_id(name) {
        let runtime = match parent {
            b"docker" => Runtime::Docker,
            b"cri-containerd" => Runtime::Containerd,
            b"crio" => Runtime::Crio,
            b"libpod" | b"libpod_parent" => Runtime::Podman,
            _ => Runtime::Unknown,
        };
        return is(runtime, name);
    }
    let dash = name.iter().rposition(|b| *b == b'-')?;
    let (prefix, id) = (name.get(..dash)?, name.get(dash + 1..)?);
    if !is_id(id) {
        return None;
    }
    match prefix {
        b"docker" => is(Runtime::Docker, id),
        b"cri-containerd" | b"nerdctl" => is(Runtime::Containerd, id),
        b"crio" => is(Runtime::Crio, id),
        b"libpod" => is(Runtime::Podman, id),
        // The monitors of CRI-O and Podman are no containers.
        _ if prefix.ends_with(b"-conmon") => None,
        _ => is(Runtime::Unknown, id),
    }
}

/// Container runtimes take 64 hexadecimal digits.
fn is_id(name: &[u8]) -> bool {
    name.len() == 64 && name.iter().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

fn pod(parent: &[u8], part: &[u8]) -> Option<Vec<u8>> {
    let uid = match part.strip_suffix(b".slice") {
        Some(slice) => {
            let at = slice.windows(4).rposition(|window| window == b"-pod")?;
            slice.get(at + 4..)?
        }
        None if matches!(parent, b"kubepods" | b"burstable" | b"besteffort") => part.strip_prefix(b"pod")?,
        None => return None,
    };
    // systemd takes a dash for a level of slices, so the kubelet writes underscores. Static pods have a hash.
    let uid: Vec<u8> = uid.iter().map(|b| if *b == b'_' { b'-' } else { *b }).collect();
    let digits = uid.iter().filter(|b| b.is_ascii_hexdigit()).count();
    let dashes = uid.iter().filter(|b| **b == b'-').count();
    (digits == 32 && matches!(dashes, 0 | 4) && digits + dashes == uid.len()).then_some(uid)
}

/// A unit's name; a slice only holds others, so it counts where nothing better was found.
fn unit(part: &[u8], before: Option<&[u8]>) -> Option<Vec<u8>> {
    let is_slice = part.ends_with(b".slice");
    let is_unit =
        [&b".service"[..], b".scope", b".socket", b".mount", b".swap"].iter().any(|s| part.ends_with(s));
    let slice_so_far = before.is_none_or(|name| name.ends_with(b".slice"));
    (is_unit || is_slice && slice_so_far).then(|| part.to_vec())
}

/// A name as systemd-escape(1) made it: `\x2d` is a byte, `-` was a slash. A machine's name has no slashes, so a bare
/// dash is one.
pub fn unescape_unit(name: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(name.len());
    let mut rest = name;
    while let Some((first, after)) = rest.split_first() {
        let hex = |b: &u8| char::from(*b).to_digit(16);
        if let (b'\\', [b'x', high, low, ..]) = (first, after)
            && let (Some(high), Some(low)) = (hex(high), hex(low))
        {
            out.push((high << 4 | low) as u8);
            rest = after.get(3..).unwrap_or_default();
        } else {
            out.push(*first);
            rest = after;
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
    const UID: &str = "1f8b2a3c-4d5e-6f70-8192-a3b4c5d6e7f8";
    const UID_SYSTEMD: &str = "1f8b2a3c_4d5e_6f70_8192_a3b4c5d6e7f8";

    fn told(path: &str) -> String {
        let path = path.replace("UUID", UID).replace("UNDER", UID_SYSTEMD).replace("ID", ID);
        let workload = parse(path.as_bytes());
        let text = |bytes: Option<Vec<u8>>| bytes.map_or("-".to_owned(), |b| String::from_utf8(b).unwrap());
        let container = workload.container.map(|c| {
            let id = String::from_utf8(c.id).unwrap();
            format!("{} {}", c.runtime.id(), if id == ID { "ID" } else { &id })
        });
        let pod = text(workload.pod);
        format!(
            "{} | {} | {}",
            container.unwrap_or("-".to_owned()),
            if pod == UID { "UUID" } else { &pod },
            text(workload.unit)
        )
    }

    /// Checks the paths that are met in the field: container | pod | unit.
    #[test]
    fn paths_of_the_field() {
        for (path, wanted) in [
            // Docker, both drivers, and systemd inside of a container.
            ("/docker/ID", "docker ID | - | -"),
            ("/system.slice/docker-ID.scope", "docker ID | - | -"),
            ("/docker/ID/system.slice/nginx.service", "docker ID | - | nginx.service"),
            ("/system.slice/docker-ID.scope/init.scope", "docker ID | - | init.scope"),
            // Kubernetes: containerd and CRI-O, all three qualities of service, both drivers.
            (
                "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-podUNDER.slice/cri-containerd-ID.scope",
                "containerd ID | UUID | -",
            ),
            (
                "/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-podUNDER.slice/crio-ID.scope",
                "cri-o ID | UUID | -",
            ),
            ("/kubepods.slice/kubepods-podUNDER.slice/docker-ID.scope", "docker ID | UUID | -"),
            ("/kubepods/burstable/podUUID/ID", "container ID | UUID | -"),
            ("/kubepods/podUUID/ID", "container ID | UUID | -"),
            ("/kubepods/besteffort/podUUID/crio-ID", "cri-o ID | UUID | -"),
            (
                "/kubepods/burstable/pod0123456789abcdef0123456789abcdef/ID",
                "container ID | 0123456789abcdef0123456789abcdef | -",
            ),
            (
                "/system.slice/containerd.service/kubepods-burstable-podUNDER.slice:cri-containerd:ID",
                "containerd ID | UUID | -",
            ),
            // kind: a node is a Docker container itself.
            (
                "/docker/ID/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-podUNDER.slice/cri-containerd-ID.scope",
                "containerd ID | UUID | -",
            ),
            // Podman, rootless too, and the monitor, which is no container.
            ("/machine.slice/libpod-ID.scope/container", "podman ID | - | -"),
            (
                "/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-ID.scope/container",
                "podman ID | - | -",
            ),
            ("/machine.slice/libpod-conmon-ID.scope", &format!("- | - | libpod-conmon-{ID}.scope")),
            ("/libpod_parent/libpod-ID", "podman ID | - | -"),
            // Others.
            ("/lxc.payload.web-1", "lxc web-1 | - | -"),
            ("/lxc/web/system.slice/ssh.service", "lxc web | - | ssh.service"),
            ("/lxc.monitor.web", "- | - | -"),
            ("/machine.slice/machine-my\\x2dbox.scope/payload", "machine my-box | - | -"),
            ("/machine.slice/systemd-nspawn@debian.service/payload", "machine debian | - | -"),
            ("/machine.slice/machine-qemu\\x2d1\\x2dvm.scope/libvirt/emulator", "machine qemu-1-vm | - | -"),
            ("/system.slice/nerdctl-ID.scope", "containerd ID | - | -"),
            ("/ecs/0123/ID", "container ID | - | -"),
            // systemd units.
            ("/system.slice/nginx.service", "- | - | nginx.service"),
            ("/system.slice/system-getty.slice/getty@tty1.service", "- | - | getty@tty1.service"),
            (
                "/user.slice/user-1000.slice/user@1000.service/app.slice/app-org.gnome.Terminal.slice/vte-spawn-1.scope",
                "- | - | vte-spawn-1.scope",
            ),
            ("/user.slice/user-1000.slice/user@1000.service/app.slice", "- | - | user@1000.service"),
            ("/user.slice/user-1000.slice/session-2.scope", "- | - | session-2.scope"),
            ("/user.slice", "- | - | user.slice"),
            ("/init.scope", "- | - | init.scope"),
            ("/system.slice/gone.service (deleted)", "- | - | gone.service"),
            // Nothing that is known.
            ("/", "- | - | -"),
            ("", "- | - | -"),
            ("/my/own", "- | - | -"),
            ("/docker/short", "- | - | -"),
            ("/kubepods/burstable/podnonsense", "- | - | -"),
            ("/../../docker/ID", "docker ID | - | -"),
        ] {
            assert_eq!(told(path), wanted, "{path}");
        }
    }

    /// Checks that escapes are undone, broken ones kept.
    #[test]
    fn escapes_are_undone() {
        assert_eq!(unescape_unit(b"a\\x2db-c"), b"a-b-c");
        assert_eq!(unescape_unit(b"\\x2"), b"\\x2");
        assert_eq!(unescape_unit(b"\\xzz\\"), b"\\xzz\\");
    }

    /// Checks that any bytes are taken without harm.
    #[test]
    fn names_are_bytes() {
        let all: Vec<u8> = (0..=255).collect();
        assert_eq!(parse(&all), Workload::default());
        assert_eq!(parse(b"/-.scope").container, None);
    }
}
