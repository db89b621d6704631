//! The frameworks of Node that bring a server of their own: what builds and starts them where no
//! script does.
//!
//! Sources: <https://nextjs.org/docs/app/getting-started/deploying>,
//! <https://nuxt.com/docs/getting-started/deployment>,
//! <https://svelte.dev/docs/kit/adapter-node>, <https://svelte.dev/docs/kit/adapter-auto>,
//! <https://v2.remix.run/docs/other-api/serve>, <https://reactrouter.com/how-to/server-bundles>,
//! <https://docs.astro.build/en/guides/integrations-guide/node/>,
//! <https://docs.nestjs.com/deployment>.

use crate::build::convention::node::package::Package;
use crate::build::error::RecipeError;
use crate::build::source::Source;

/// A framework with a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Framework {
    /// The package that it is known by.
    package: &'static str,
    /// What builds it, where there is no script for it.
    pub(crate) build: &'static str,
    pub(crate) start: &'static str,
}

/// In this order: an adapter is more than the framework that it is of.
const FRAMEWORKS: [Framework; 7] = [
    Framework {
        package: "next",
        build: "next build",
        start: "next start --hostname $HOST --port $PORT",
    },
    Framework { package: "nuxt", build: "nuxt build", start: "node .output/server/index.mjs" },
    Framework {
        package: "@sveltejs/adapter-node",
        build: "vite build",
        start: "PROTOCOL_HEADER=x-forwarded-proto node build",
    },
    Framework {
        package: "@sveltejs/adapter-auto",
        build: "vite build",
        start: "PROTOCOL_HEADER=x-forwarded-proto node build",
    },
    Framework {
        package: "@react-router/serve",
        build: "react-router build",
        start: "react-router-serve ./build/server/index.js",
    },
    Framework {
        package: "@remix-run/serve",
        build: "remix vite:build",
        start: "remix-serve ./build/server/index.js",
    },
    Framework {
        package: "@astrojs/node",
        build: "astro build",
        start: "node ./dist/server/entry.mjs",
    },
];

/// How servers for work begin, which are none to serve with.
const FOR_WORK: [&str; 16] = [
    "ng serve",
    "ng s",
    "astro dev",
    "docusaurus start",
    "eleventy --serve",
    "gatsby develop",
    "next dev",
    "nodemon",
    "nuxt dev",
    "parcel",
    "react-scripts start",
    "remix dev",
    "vite",
    "vue-cli-service serve",
    "webpack serve",
    "webpack-dev-server",
];

/// The variable by which `SvelteKit`'s automatic adapter chooses the one for Node; it is Google's
/// name for where that one serves.
pub(crate) const SVELTE_FOR_NODE: &str = "GCP_BUILDPACKS=node";

impl Framework {
    /// The framework whose server starts the app; `None` too where it makes a folder of files.
    pub(crate) fn of(
        source: &Source<'_>,
        package: &Package,
    ) -> Result<Option<Framework>, RecipeError> {
        let found = FRAMEWORKS.iter().find(|framework| package.has(framework.package));
        let Some(framework) = found.copied() else { return Ok(None) };
        Ok((!framework.is_exported(source)?).then_some(framework))
    }

    /// Whether Next is told to make files instead of a server.
    fn is_exported(self, source: &Source<'_>) -> Result<bool, RecipeError> {
        if self.package != "next" {
            return Ok(false);
        }
        for name in ["next.config.js", "next.config.mjs", "next.config.ts"] {
            let text = source.read(name)?.unwrap_or_default();
            let says = |line: &str| {
                let line = line.trim();
                line.starts_with("output") && line.contains("export") && !line.contains("//")
            };
            if text.lines().any(says) || text.contains("{ output: 'export'") {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Whether its adapter is chosen when it is built.
    pub(crate) fn is_automatic(self, package: &Package) -> bool {
        self.package == "@sveltejs/adapter-auto" && !package.has("@sveltejs/adapter-node")
    }
}

/// Whether a start script starts a server for work, which is slow and not for others.
pub(crate) fn is_for_work(script: &str) -> bool {
    let words: Vec<&str> = script.split_whitespace().collect();
    let is_setting = |word: &&&str| word.contains('=') || **word == "cross-env" || **word == "npx";
    let begin = words.iter().take_while(is_setting).count();
    let rest = words[begin..].join(" ");
    FOR_WORK.iter().any(|server| {
        let after = rest.strip_prefix(server);
        let is_word = after.is_some_and(|after| after.is_empty() || after.starts_with(' '));
        let other = after.and_then(|after| after.split_whitespace().next());
        // `vite build` and `vite preview` are other things than `vite`.
        is_word && !matches!(other, Some("build" | "preview"))
    })
}

/// The script that starts the app, by its name.
pub(crate) fn script(package: &Package) -> Option<&'static str> {
    let start = package.script("start")?;
    // Nest's own script compiles the app anew.
    if start.starts_with("nest start") && package.script("start:prod").is_some() {
        return Some("start:prod");
    }
    (!is_for_work(start)).then_some("start")
}
