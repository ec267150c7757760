//! Files with a connection string. On the command line, every user of the machine could see it.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use silo_core::secret::Secret;

/// Reads a file with a connection string; `-` is standard input.
///
/// # Errors
/// When it cannot be read, or when other users can read it.
pub fn read(file: &Path) -> Result<Secret, String> {
    let unreadable = |error: std::io::Error| format!("{} cannot be read: {error}", file.display());
    if file.as_os_str() == "-" {
        let text = std::io::read_to_string(std::io::stdin()).map_err(unreadable)?;
        return Ok(Secret::new(text.trim()));
    }
    if file.to_string_lossy().contains("://") {
        return Err(
            "a connection string on the command line is visible to every user: write it into a file"
                .into(),
        );
    }
    let mode = std::fs::metadata(file)
        .map_err(unreadable)?
        .permissions()
        .mode();
    // Docker mounts secrets readable by everybody in the container, which has no other users.
    if mode & 0o077 != 0 && !file.starts_with("/run/secrets") {
        return Err(format!(
            "other users can read {}, which has a password: chmod 600 it",
            file.display()
        ));
    }
    let text = std::fs::read_to_string(file).map_err(unreadable)?;
    Ok(Secret::new(text.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_private_file_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("uri");
        std::fs::write(&file, "mongodb://user:pass@host/\n").unwrap();
        for (mode, readable) in [(0o600, true), (0o400, true), (0o640, false), (0o604, false)] {
            std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).unwrap();
            let read = read(&file);
            assert_eq!(read.is_ok(), readable, "{mode:o}");
            if let Ok(uri) = read {
                assert_eq!(uri.expose(), "mongodb://user:pass@host/");
            }
        }
        let typed = read(Path::new("mongodb://user:pass@host/")).unwrap_err();
        assert!(
            typed.contains("visible") && !typed.contains("pass@"),
            "{typed}"
        );
    }
}
