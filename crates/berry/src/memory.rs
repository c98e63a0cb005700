//! How much memory this process's control group uses of how much it may: asked every second, so that the gateway can give up
//! single calls before the system gives up the whole process.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use berry_proxy::Gateway;

const EVERY: Duration = Duration::from_secs(1);

/// Watches until it is dropped. Ends at once where no limit can be found.
pub(crate) async fn watch(gateway: Arc<Gateway>) {
    let Some(group) = Group::own() else {
        return std::future::pending().await;
    };
    loop {
        if let Some((used, limit)) = group.read() {
            gateway.note_memory(used, limit);
        }
        tokio::time::sleep(EVERY).await;
    }
}

/// The files of a control group, version 2 or 1 (the kernel's admin guide: cgroup-v2, cgroup-v1/memory).
struct Group {
    used: PathBuf,
    limit: PathBuf,
    /// What of the used memory the system takes back by itself when it needs it.
    stat: PathBuf,
}

impl Group {
    /// The group that this process is in, if it has a limit.
    fn own() -> Option<Self> {
        let lines = std::fs::read_to_string("/proc/self/cgroup").ok()?;
        let mut groups = lines.lines().filter_map(|line| Self::of_line(line, Path::new("/sys/fs/cgroup")));
        groups.find(|group| group.read().is_some())
    }

    /// The files that a line of `/proc/self/cgroup` means.
    fn of_line(line: &str, root: &Path) -> Option<Self> {
        let mut parts = line.splitn(3, ':');
        let (_, controllers, path) = (parts.next()?, parts.next()?, parts.next()?.trim_start_matches('/'));
        let (folder, used, limit) = match controllers {
            "" => (root.join(path), "memory.current", "memory.max"),
            list if list.split(',').any(|controller| controller == "memory") => {
                (root.join("memory").join(path), "memory.usage_in_bytes", "memory.limit_in_bytes")
            }
            _ => return None,
        };
        // Within a container the path may be one of the host's, and the files stand at the root.
        let folder =
            if folder.join(limit).exists() { folder } else { folder.ancestors().nth(path.split('/').count())?.into() };
        Some(Self { used: folder.join(used), limit: folder.join(limit), stat: folder.join("memory.stat") })
    }

    /// Bytes in use, without what is merely cached of files, and how many there may be. `None`: there is no limit.
    fn read(&self) -> Option<(u64, u64)> {
        let number = |path: &Path| std::fs::read_to_string(path).ok()?.trim().parse::<u64>().ok();
        let limit = number(&self.limit).filter(|limit| *limit < 1 << 60)?;
        let stat = std::fs::read_to_string(&self.stat).unwrap_or_default();
        let cached = stat.lines().find_map(|line| line.strip_prefix("inactive_file ")?.parse().ok()).unwrap_or(0);
        Some((number(&self.used)?.saturating_sub(cached), limit))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(line: &str, files: &[(&str, &str)]) -> Option<(u64, u64)> {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        Group::of_line(line, folder.path())?.read()
    }

    #[test]
    fn both_versions_are_read_without_what_is_only_cached() {
        let v2 = [
            ("a/b/memory.current", "900\n"),
            ("a/b/memory.max", "1000\n"),
            ("a/b/memory.stat", "anon 1\ninactive_file 300\n"),
        ];
        assert_eq!(group("0::/a/b", &v2), Some((600, 1000)));
        let v1 = [("memory/a/memory.usage_in_bytes", "5"), ("memory/a/memory.limit_in_bytes", "7")];
        assert_eq!(group("4:cpu,memory:/a", &v1), Some((5, 7)));
        assert_eq!(group("4:cpu:/a", &v1), None);
    }

    #[test]
    fn within_a_container_the_files_stand_at_the_root() {
        let files = [("memory.current", "5"), ("memory.max", "7")];
        assert_eq!(group("0::/system.slice/x.scope", &files), Some((5, 7)));
        assert_eq!(group("0::/", &files), Some((5, 7)));
    }

    #[test]
    fn no_limit_is_none() {
        assert_eq!(group("0::/", &[("memory.current", "5"), ("memory.max", "max")]), None);
    }
}
