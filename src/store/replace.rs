//! Replaces a file so that it is always whole: the old one or the new one.
//!
//! A temporary file in the same folder, mode, write, fsync, rename, fsync of the folder: see
//! rename(2) and fsync(2).

use std::ffi::OsString;
use std::fs::{self, File, Metadata, OpenOptions, Permissions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;
use rustix::process::geteuid;

use crate::fault::Fault;

/// The flag for opening a helper file: open(2) then fails on a symbolic link.
#[must_use]
pub(crate) fn no_follow() -> i32 {
    i32::try_from(OFlags::NOFOLLOW.bits()).unwrap_or_default()
}

/// Who may read a file. An existing file usually keeps its mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Readers {
    /// Everybody, if the file is new.
    Everybody,
    /// Everybody, whatever mode the file had.
    EverybodyAlways,
    /// Owner and group, if the file is new.
    OwnerAndGroup,
}

impl Readers {
    fn mode(self, existing: Option<u32>) -> u32 {
        match (self, existing) {
            (Self::Everybody, None) => 0o644,
            (Self::OwnerAndGroup, None) => 0o640,
            (Self::Everybody | Self::OwnerAndGroup, Some(mode)) => mode,
            (Self::EverybodyAlways, mode) => mode.unwrap_or(0) | 0o644,
        }
    }
}

/// Replaces the file that `path` leads to. It keeps the owner and group of an existing file as far
/// as this user may. If it fails, the old file is whole.
///
/// The caller holds the lock on the files, because there is one temporary name.
pub fn replace(path: &Path, contents: &[u8], readers: Readers) -> Result<(), Fault> {
    replace_with(path, |file| file.write_all(contents), readers).map(drop)
}

/// Like [`replace`], with what `write` puts into the new file. Returns the metadata of the new
/// file, even if somebody replaces it at once.
pub(crate) fn replace_with(
    path: &Path,
    write: impl FnMut(&mut File) -> io::Result<()>,
    readers: Readers,
) -> Result<Metadata, Fault> {
    replace_if(path, write, || Ok(()), readers)
}

/// Like [`replace_with`], unless `check` finds, at the last moment, that the old file must stay. To
/// make the new one durable takes long, and somebody may edit the old one meanwhile.
pub(crate) fn replace_if(
    path: &Path,
    mut write: impl FnMut(&mut File) -> io::Result<()>,
    check: impl Fn() -> io::Result<()>,
    readers: Readers,
) -> Result<Metadata, Fault> {
    put_in_place(path, &mut write, &check, readers)
}

/// Does what [`replace_if`] does. The program has it once, whatever is written.
fn put_in_place(
    path: &Path,
    write: &mut dyn FnMut(&mut File) -> io::Result<()>,
    check: &dyn Fn() -> io::Result<()>,
    readers: Readers,
) -> Result<Metadata, Fault> {
    let target = follow(path);
    let temporary = companion(&target, "tmp");
    let new = write_temporary(&temporary, &target, write, readers)
        .map_err(|error| Fault::io("write", &temporary, &error))
        .and_then(|new| {
            check()
                .and_then(|()| fs::rename(&temporary, &target))
                .map_err(|error| Fault::io("replace", &target, &error))?;
            Ok(new)
        })
        .inspect_err(|_| {
            let _ = fs::remove_file(&temporary);
        })?;
    sync_folder(&target)?;
    Ok(new)
}

/// Makes the names in the folder of `path` survive a power failure.
pub(crate) fn sync_folder(path: &Path) -> Result<(), Fault> {
    let folder = path.parent().unwrap_or(Path::new("/"));
    File::open(folder)
        .and_then(|folder| folder.sync_all())
        .map_err(|error| Fault::io("sync", folder, &error))
}

/// The helper file `.NAME.PURPOSE` beside `path`. dnsmasq skips dot files.
#[must_use]
pub fn companion(path: &Path, purpose: &str) -> PathBuf {
    let name = path.file_name().unwrap_or_default().as_bytes();
    let dots = name.iter().take_while(|byte| **byte == b'.').count();
    let name = name.get(dots..).unwrap_or_default();
    let companion = [b".", name, b".", purpose.as_bytes()].concat();
    path.with_file_name(OsString::from_vec(companion))
}

/// Where a path leads through symbolic links, even if nothing is there yet.
#[must_use]
pub fn follow(path: &Path) -> PathBuf {
    let mut path = path.to_owned();
    // The kernel's own bound on links, path_resolution(7).
    for _ in 0..40 {
        let Ok(target) = fs::read_link(&path) else { break };
        path = path.parent().unwrap_or(Path::new("/")).join(target);
    }
    path
}

fn write_temporary(
    temporary: &Path,
    target: &Path,
    write: &mut dyn FnMut(&mut File) -> io::Result<()>,
    readers: Readers,
) -> io::Result<Metadata> {
    let existing = match fs::metadata(target) {
        Ok(metadata) => Some(metadata),
        Err(error) if error.kind() == ErrorKind::NotFound => None,
        Err(error) => return Err(error),
    };
    let mut file = create(temporary)?;
    match &existing {
        Some(existing) => keep_owner(&file, existing)?,
        None => give_to_folder_owner(&file, target)?,
    }
    let mode = readers.mode(existing.map(|existing| existing.mode() & 0o7777));
    file.set_permissions(Permissions::from_mode(mode))?;
    write(&mut file)?;
    file.sync_all()?;
    file.metadata()
}

fn keep_owner(file: &File, existing: &Metadata) -> io::Result<()> {
    let own = file.metadata()?;
    if (own.uid(), own.gid()) != (existing.uid(), existing.gid())
        && fchown(file, Some(existing.uid()), Some(existing.gid())).is_err()
    {
        // Only root gives files away. The group can be kept by its members.
        let _ = fchown(file, None, Some(existing.gid()));
    }
    Ok(())
}

/// Gives a file that root made to the owner of its folder: what the operator's commands leave there
/// must be the web server's.
fn give_to_folder_owner(file: &File, path: &Path) -> io::Result<()> {
    if !geteuid().is_root() {
        return Ok(());
    }
    let folder = fs::metadata(path.parent().unwrap_or(Path::new("/")))?;
    fchown(file, Some(folder.uid()), Some(folder.gid()))
}

/// Opens a helper file as `options` say, and makes it if it is not there. It is never a link: root
/// would write to where somebody else's link leads.
pub(crate) fn open_helper(path: &Path, options: &mut OpenOptions) -> io::Result<File> {
    options.custom_flags(no_follow());
    match options.open(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let file = options.create(true).open(path)?;
            give_to_folder_owner(&file, path)?;
            Ok(file)
        }
        opened => opened,
    }
}

/// Creates a file that was not there: a leftover of a killed process may belong to someone else.
fn create(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true).mode(0o600);
    match options.open(path) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            fs::remove_file(path)?;
            options.open(path)
        }
        result => result,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().mode() & 0o7777
    }

    #[test]
    fn a_new_file_is_readable_and_leaves_no_temporary() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("hosts.dns");
        replace(&path, b"new", Readers::EverybodyAlways).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
        assert_eq!(mode(&path), 0o644);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn the_mode_is_kept_but_never_below_the_least() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        for (before, readers, after) in [
            (0o664, Readers::EverybodyAlways, 0o664),
            (0o600, Readers::EverybodyAlways, 0o644),
            (0o600, Readers::Everybody, 0o600),
            (0o666, Readers::OwnerAndGroup, 0o666),
        ] {
            fs::write(&path, "old").unwrap();
            fs::set_permissions(&path, Permissions::from_mode(before)).unwrap();
            replace(&path, b"new", readers).unwrap();
            assert_eq!(mode(&path), after);
        }
    }

    #[test]
    fn a_link_is_followed_also_where_it_leads_to_nothing_yet() {
        let folder = tempfile::tempdir().unwrap();
        let (link, target) = (folder.path().join("link"), folder.path().join("sub/target"));
        fs::create_dir(folder.path().join("sub")).unwrap();
        symlink("sub/target", &link).unwrap();
        for text in [b"one", b"two"] {
            replace(&link, text, Readers::Everybody).unwrap();
            assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
            assert_eq!(fs::read(&target).unwrap(), text);
        }
    }

    #[test]
    fn a_leftover_temporary_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ip.txt");
        fs::write(folder.path().join(".ip.txt.tmp"), "a much longer leftover").unwrap();
        replace(&path, b"new", Readers::Everybody).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
    }

    #[test]
    fn a_failure_keeps_the_old_file_and_names_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ip.txt");
        fs::create_dir(&path).unwrap();
        let fault = replace(&path, b"new", Readers::Everybody).unwrap_err();
        assert!(fault.subject.ends_with("ip.txt"), "{fault}");
        assert!(path.is_dir() && !folder.path().join(".ip.txt.tmp").exists());
    }

    #[test]
    fn an_edit_is_not_lost_if_it_comes_before_the_new_file_takes_the_place() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ip.txt");
        fs::write(&path, b"old").unwrap();
        let check = || {
            assert_eq!(fs::read(folder.path().join(".ip.txt.tmp")).unwrap(), b"new", "too early");
            Err(io::Error::other("it was edited"))
        };
        let write = |file: &mut File| file.write_all(b"new");
        let fault = replace_if(&path, write, check, Readers::Everybody).unwrap_err();
        assert!(fault.reason.contains("it was edited"), "{fault}");
        assert_eq!(fs::read(&path).unwrap(), b"old");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn helper_files_are_dot_files_beside_their_subject() {
        let name = |path, purpose| companion(Path::new(path), purpose);
        assert_eq!(name("/d/ip.txt", "lock"), Path::new("/d/.ip.txt.lock"));
        assert_eq!(name("/d/.hosts.dns.pending", "tmp"), Path::new("/d/.hosts.dns.pending.tmp"));
    }
}
