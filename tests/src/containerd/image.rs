//! Images of a web server, created by the tests.

use std::{fs, io::Read as _, os::unix::fs::symlink, path::Path, process::Command};

use anyhow::{Context, Result, ensure};
use serde_json::json;
use tempfile::TempDir;

use super::{Containerd, script};
use crate::needs;

/// Appends the query to a file in the container, and shows the file.
const NOTE_SCRIPT: &str = "#!/bin/sh
printf 'Content-Type: text/plain\\r\\n\\r\\n'
echo \"$QUERY_STRING\" >>/notes
cat /notes
";

/// Description of an image.
#[derive(Clone, Debug)]
pub struct Image {
    name: String,
    page: String,
    megabytes: u64,
    architecture: &'static str,
    command: Vec<String>,
}

// === impl Image ===

impl Image {
    /// An image with this name and this text on its page.
    pub fn new(name: &str, page: &str) -> Self {
        Self {
            name: name.to_owned(),
            page: page.to_owned(),
            megabytes: 0,
            architecture: Self::machine(),
            command: ["/bin/httpd", "-f", "-p", "80", "-h", "/www"].map(str::to_owned).into(),
        }
    }

    /// This machine's architecture in OCI notation.
    pub fn machine() -> &'static str {
        match std::env::consts::ARCH {
            "x86_64" => "amd64",
            "aarch64" => "arm64",
            other => other,
        }
    }

    /// Adds incompressible data.
    #[must_use]
    pub fn with_megabytes(mut self, megabytes: u64) -> Self {
        self.megabytes = megabytes;
        self
    }

    /// For another architecture.
    #[must_use]
    pub fn for_machine(mut self, architecture: &'static str) -> Self {
        self.architecture = architecture;
        self
    }

    /// With another command.
    #[must_use]
    pub fn running(mut self, command: &[&str]) -> Self {
        self.command = command.iter().map(|&word| word.to_owned()).collect();
        self
    }

    /// Writes it in the format of `docker save`.
    fn write(&self, made: &Path) -> Result<()> {
        let root = made.join("root");
        fs::create_dir_all(root.join("bin"))?;
        fs::create_dir_all(root.join("www/cgi-bin"))?;
        let busybox = needs::program("busybox").context("busybox is missing")?;
        fs::copy(busybox, root.join("bin/busybox"))?;
        for applet in ["sh", "httpd", "cat"] {
            symlink("busybox", root.join("bin").join(applet))?;
        }
        fs::write(root.join("www/index.html"), format!("<p>{}</p>\n", self.page))?;
        script(&root.join("www/cgi-bin/note"), NOTE_SCRIPT)?;
        let mut random = fs::File::open("/dev/urandom")?.take(self.megabytes << 20);
        std::io::copy(&mut random, &mut fs::File::create(root.join("random"))?)?;
        let layer = made.join("layer.tar");
        tar(&root, &layer, &["."])?;
        let digest = Command::new("sha256sum").arg(&layer).output()?;
        let digest = String::from_utf8(digest.stdout)?;
        let digest = digest.split(' ').next().context("no digest")?;
        let config = json!({
            "architecture": self.architecture,
            "os": "linux",
            "config": { "Cmd": self.command },
            "rootfs": { "type": "layers", "diff_ids": [format!("sha256:{digest}")] },
        });
        let manifest = json!([
            { "Config": "config.json", "RepoTags": [self.name], "Layers": ["layer.tar"] }
        ]);
        fs::write(made.join("config.json"), config.to_string())?;
        fs::write(made.join("manifest.json"), manifest.to_string())?;
        tar(made, &made.join("image.tar"), &["manifest.json", "config.json", "layer.tar"])
    }
}

// === impl Containerd ===

impl Containerd {
    /// Creates an image and imports it.
    pub fn import(&self, image: &Image) -> Result<()> {
        let made = TempDir::with_prefix("drowse-image-")?;
        image.write(made.path())?;
        let archive = made.path().join("image.tar");
        let mut words = vec!["images", "import"];
        if image.architecture != Image::machine() {
            // No snapshotter can unpack it.
            words.extend(["--all-platforms", "--no-unpack"]);
        }
        let archive = archive.to_string_lossy();
        words.push(&archive);
        self.run(&words).map(drop)
    }

    /// Creates an image, pushes it to the registry in its name, and removes it locally. Returns the
    /// digest of its manifest.
    pub fn publish(&self, image: &Image) -> Result<String> {
        self.import(image)?;
        let digest = self.digest(&image.name)?.context("it is imported")?;
        let platform = format!("linux/{}", image.architecture);
        self.run(&["images", "push", "--plain-http", "--platform", &platform, &image.name])?;
        self.run(&["images", "remove", "--sync", &image.name])?;
        Ok(digest)
    }

    /// The digest of an image; none if it does not exist.
    pub fn digest(&self, name: &str) -> Result<Option<String>> {
        let listed = self.run(&["images", "list", &format!("name=={name}")])?;
        let words = listed.lines().skip(1).flat_map(str::split_whitespace);
        Ok(words.map(str::to_owned).find(|word| word.starts_with("sha256:")))
    }
}

fn tar(directory: &Path, archive: &Path, what: &[&str]) -> Result<()> {
    let status =
        Command::new("tar").arg("-C").arg(directory).arg("-cf").arg(archive).args(what).status()?;
    ensure!(status.success(), "tar ended with {status}");
    Ok(())
}
