//! Local replacements for base images that cannot be pulled: made of Debian's packages, the tools that `cargo xtask` installs, and this machine's
//! Rust. `silo-testkit/images` describes each.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, Result, bail};
use silo_testkit::say;
use silo_testkit::tools::{Tool, workspace};
use tempfile::TempDir;

use super::engine::{Engine, command};

/// Base image of all others.
const DEBIAN: &str = "silo-local/debian:trixie";
/// The label of an image that holds something of this workspace.
const OWN: &str = "silo.made-of";
/// Local Dockerfile for each base image, by the image's name without tag.
const IMAGES: [(&str, &str); 6] = [
    ("rust", "rust"),
    ("gcr.io/distroless/cc-debian13", "runtime"),
    ("caddy", "caddy"),
    ("node", "node"),
    ("chrislusf/seaweedfs", "seaweedfs"),
    ("mongo", "mongo"),
];

/// A base image of the Dockerfile or of the Compose file.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Base {
    /// Variable that chooses it: a build argument, or a setting of the Compose file.
    pub(super) variable: String,
    /// Name and tag, without the digest, which only images of a registry have.
    pub(super) image: String,
    /// The same with its digest, if it has one.
    pinned: String,
}

/// All base images.
pub(super) fn all() -> Result<Vec<Base>> {
    let read = |file: &str| std::fs::read_to_string(workspace().join(file));
    Ok(bases(
        &read("ops/docker/Dockerfile")?,
        &read("docker-compose.yml")?,
    ))
}

/// `ARG NAME=IMAGE` of a Dockerfile, and `image: ${NAME:-IMAGE}` of a Compose file.
fn bases(dockerfile: &str, compose: &str) -> Vec<Base> {
    let arguments = dockerfile.lines().filter_map(|line| {
        let (name, image) = line.strip_prefix("ARG ")?.split_once('=')?;
        Some((name, image))
    });
    let images = compose.lines().filter_map(|line| {
        let rest = line.trim().strip_prefix("image: ${")?;
        let (name, image) = rest.strip_suffix('}')?.split_once(":-")?;
        (!image.contains('}')).then_some((name, image))
    });
    let mut found: Vec<Base> = Vec::new();
    for (variable, pinned) in arguments.chain(images) {
        let image = pinned.split('@').next().unwrap_or(pinned);
        let base = Base {
            variable: variable.to_owned(),
            image: image.to_owned(),
            pinned: pinned.to_owned(),
        };
        if !found.contains(&base) {
            found.push(base);
        }
    }
    found
}

/// Gets every image that is not there: the real one, or ours.
pub(super) async fn make(engine: &Engine) -> Result<()> {
    for Base { image, pinned, .. } in all()? {
        let name = image.rsplit_once(':').map_or(&*image, |(name, _)| name);
        let name = IMAGES.iter().find(|(known, _)| *known == name);
        let (_, name) = name.with_context(|| format!("{image} has no local Dockerfile"))?;
        let own = format!("{{{{index .Config.Labels \"{OWN}\"}}}}");
        let inspected = ["docker", "image", "inspect", "--format", &own, &image];
        match engine.output(&inspected).await {
            // Ours may have been made of something older; what did not change is not made again.
            Ok(label) if label.trim() == "workspace" => {
                make_one(engine, &image, name).await?;
                continue;
            }
            Ok(_) => continue,
            Err(_) => {}
        }
        say::step(&format!("getting {pinned}"));
        if engine
            .output(&["docker", "pull", "--quiet", &pinned])
            .await
            .is_ok()
        {
            engine.output(&["docker", "tag", &pinned, &image]).await?;
            say::done(&image);
            continue;
        }
        if !engine.has(DEBIAN).await {
            debian(engine).await?;
        }
        make_one(engine, &image, name).await?;
        say::done(&format!("{image}, made here: no registry answers"));
    }
    Ok(())
}

async fn make_one(engine: &Engine, image: &str, name: &str) -> Result<()> {
    let folder = context(name).await?;
    let file = workspace().join(format!("crates/silo-testkit/images/{name}.Dockerfile"));
    let (file, context) = (
        file.display().to_string(),
        folder.path().display().to_string(),
    );
    let arguments = [
        "docker", "build", "--quiet", "--file", &file, "--tag", image, &context,
    ];
    engine.output(&arguments).await.map(drop)
}

/// A small Debian, with the certificates that this machine trusts.
async fn debian(engine: &Engine) -> Result<()> {
    say::step("putting a small Debian together, once");
    let root = TempDir::with_prefix("silo-debian-")?;
    let at = root.path().join("root");
    let at_text = at.display().to_string();
    let packages = "--include=ca-certificates,libgcc-s1,libssl3t64,tzdata";
    engine
        .output(&[
            "debootstrap",
            "--variant=minbase",
            packages,
            "trixie",
            &at_text,
            "http://deb.debian.org/debian",
        ])
        .await?;
    let own = Path::new("/usr/local/share/ca-certificates");
    if own.is_dir() {
        for file in std::fs::read_dir(own)? {
            let file = file?;
            std::fs::copy(
                file.path(),
                at.join("usr/local/share/ca-certificates")
                    .join(file.file_name()),
            )?;
        }
        engine
            .output(&["chroot", &at_text, "update-ca-certificates"])
            .await?;
    }
    let mut tar = command(&[
        "tar",
        "--create",
        "--directory",
        &at_text,
        "--exclude",
        "./var/cache/apt/archives/*.deb",
        ".",
    ])
    .stdout(Stdio::piped())
    .spawn()?;
    let from: Stdio = tar.stdout.take().context("tar writes")?.try_into()?;
    let imported = command(&["docker", "import", "-", DEBIAN])
        .stdin(from)
        .stdout(Stdio::null())
        .status()
        .await?;
    if !(tar.wait().await?.success() && imported.success()) {
        bail!("the small Debian could not be imported");
    }
    Ok(())
}

/// Build context of an image: the files it needs besides Debian's packages.
async fn context(name: &str) -> Result<TempDir> {
    let folder = TempDir::with_prefix("silo-image-")?;
    let put = |from: PathBuf, as_name: &str| {
        std::fs::copy(&from, folder.path().join(as_name))
            .map(drop)
            .with_context(|| from.display().to_string())
    };
    match name {
        "rust" => {
            let home = command(&["rustc", "--print", "sysroot"]).output().await?;
            let home = PathBuf::from(String::from_utf8(home.stdout)?.trim());
            let toolchain = folder.path().join("toolchain");
            std::fs::create_dir(&toolchain)?;
            for part in ["bin", "lib", "libexec"] {
                let (from, to) = (home.join(part), toolchain.join(part));
                let copied = command(&["cp", "--recursive"])
                    .arg(from)
                    .arg(to)
                    .status()
                    .await?;
                if !copied.success() {
                    bail!("this machine's Rust could not be copied");
                }
            }
        }
        "caddy" => put(Tool::Caddy.installed()?, "caddy")?,
        "seaweedfs" => put(Tool::SeaweedFs.installed()?, "weed")?,
        "mongo" => {
            put(Tool::Mongod.installed()?, "mongod")?;
            let modules = Tool::Mongosh.installed()?;
            let copied = command(&["cp", "--recursive"])
                .args([modules, folder.path().join("node_modules")])
                .status()
                .await?;
            if !copied.success() {
                bail!("mongosh could not be copied");
            }
            let entrypoint = "crates/silo-testkit/images/docker-entrypoint.sh";
            put(workspace().join(entrypoint), "docker-entrypoint.sh")?;
        }
        _ => {}
    }
    Ok(folder)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base_images_are_found_with_and_without_a_digest() {
        let dockerfile = "# ARG OLD=x:1\nARG CADDY=caddy:2.11.7@sha256:00ff\nARG AC_GIT_SHA\nFROM ${CADDY} AS x\n";
        let compose = "    image: ${SILO_MONGO_IMAGE:-mongo:8.0.29}\n    image: ${SILO_MONGO_IMAGE:-mongo:8.0.29}\n    image: ${SILO_REGISTRY:-}silo-gate:${SILO_TAG:-current}\n    image: quay.io/x/y:1\n";
        let base = |variable: &str, image: &str, pinned: &str| Base {
            variable: variable.into(),
            image: image.into(),
            pinned: pinned.into(),
        };
        let wanted = [
            base("CADDY", "caddy:2.11.7", "caddy:2.11.7@sha256:00ff"),
            base("SILO_MONGO_IMAGE", "mongo:8.0.29", "mongo:8.0.29"),
        ];
        assert_eq!(bases(dockerfile, compose), wanted);
        assert!(all().unwrap().len() >= IMAGES.len());
    }
}
