//! Well-known services: how their keys are usually called, which hosts they go to, and in which header. Data, each row
//! with the page of the service's own documentation that says so.

use super::{HeaderName, HostPattern, SecretHeader, SecretName, Shape};

/// One service.
#[derive(Debug, PartialEq, Eq)]
pub struct Provider {
    name: &'static str,
    /// The environment variables that its tools read.
    keys: &'static [&'static str],
    /// The first row is what a key of that name gets on a host that is not listed, such as a company's own proxy.
    hosts: &'static [Host],
    source: &'static str,
}

#[derive(Debug, PartialEq, Eq)]
struct Host(&'static str, &'static str, Shape);

impl Provider {
    #[must_use]
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// The usual names of its key.
    #[must_use]
    pub const fn keys(&self) -> &'static [&'static str] {
        self.keys
    }

    /// The page that the row was written from.
    #[must_use]
    pub const fn source(&self) -> &'static str {
        self.source
    }

    /// The hosts that its key goes to.
    pub fn hosts(&self) -> impl Iterator<Item = HostPattern> + '_ {
        // Every row parses: a test sees to that.
        self.hosts.iter().filter_map(|Host(host, ..)| host.parse().ok())
    }

    fn row(&self, wanted: &HostPattern) -> Option<&'static Host> {
        self.hosts
            .iter()
            .find(|Host(host, ..)| host.parse::<HostPattern>().is_ok_and(|host| host.covers(wanted)))
    }

    /// Every service that is known.
    pub fn all() -> impl Iterator<Item = &'static Self> {
        PROVIDERS.iter()
    }
}

impl Host {
    fn header(&self) -> SecretHeader {
        SecretHeader::new(HeaderName::known(self.1), self.2)
    }
}

/// The service that a secret of this name is usually for.
#[must_use]
pub fn for_name(name: &SecretName) -> Option<&'static Provider> {
    PROVIDERS.iter().find(|provider| provider.keys.contains(&name.as_str()))
}

/// The service that this host belongs to.
#[must_use]
pub fn for_host(host: &HostPattern) -> Option<&'static Provider> {
    PROVIDERS.iter().find(|provider| provider.row(host).is_some())
}

/// The header in which `host` expects the secret `name`: what the host's own service says, else what the service says that
/// such a key belongs to, else `Authorization: Bearer`.
#[must_use]
pub fn header_for(name: &SecretName, host: &HostPattern) -> SecretHeader {
    let of_host = PROVIDERS.iter().find_map(|provider| provider.row(host));
    let row = of_host.or_else(|| for_name(name).and_then(|provider| provider.hosts.first()));
    row.map_or_else(SecretHeader::bearer, Host::header)
}

const AUTHORIZATION: &str = "authorization";

const fn bearer(host: &'static str) -> Host {
    Host(host, AUTHORIZATION, Shape::Bearer)
}

const fn raw(host: &'static str, header: &'static str) -> Host {
    Host(host, header, Shape::Raw)
}

const fn row(
    name: &'static str,
    keys: &'static [&'static str],
    hosts: &'static [Host],
    source: &'static str,
) -> Provider {
    Provider { name, keys, hosts, source }
}

#[rustfmt::skip]
static PROVIDERS: [Provider; 35] = [
    // Language models.
    row("Anthropic", &["ANTHROPIC_API_KEY"], &[raw("api.anthropic.com", "x-api-key")],
        "https://docs.anthropic.com/en/api/overview"),
    row("OpenAI", &["OPENAI_API_KEY"], &[bearer("api.openai.com")],
        "https://platform.openai.com/docs/api-reference/authentication"),
    row("Azure OpenAI", &["AZURE_OPENAI_API_KEY"], &[raw("*.openai.azure.com", "api-key")],
        "https://learn.microsoft.com/en-us/azure/ai-services/openai/reference"),
    row("Google Gemini", &["GEMINI_API_KEY", "GOOGLE_API_KEY", "GOOGLE_GENERATIVE_AI_API_KEY"],
        &[raw("generativelanguage.googleapis.com", "x-goog-api-key")],
        "https://ai.google.dev/gemini-api/docs/api-key"),
    row("Mistral", &["MISTRAL_API_KEY"], &[bearer("api.mistral.ai")], "https://docs.mistral.ai/api/"),
    row("Groq", &["GROQ_API_KEY"], &[bearer("api.groq.com")], "https://console.groq.com/docs/api-reference"),
    row("Cohere", &["COHERE_API_KEY", "CO_API_KEY"], &[bearer("api.cohere.com"), bearer("api.cohere.ai")],
        "https://docs.cohere.com/reference/about"),
    row("DeepSeek", &["DEEPSEEK_API_KEY"], &[bearer("api.deepseek.com")], "https://api-docs.deepseek.com/"),
    row("Together", &["TOGETHER_API_KEY"], &[bearer("api.together.xyz"), bearer("api.together.ai")],
        "https://docs.together.ai/reference/authentication"),
    row("Fireworks", &["FIREWORKS_API_KEY"], &[bearer("api.fireworks.ai")],
        "https://docs.fireworks.ai/api-reference/introduction"),
    row("OpenRouter", &["OPENROUTER_API_KEY"], &[bearer("openrouter.ai")],
        "https://openrouter.ai/docs/api-reference/authentication"),
    row("xAI", &["XAI_API_KEY"], &[bearer("api.x.ai")], "https://docs.x.ai/docs/api-reference"),
    row("Perplexity", &["PERPLEXITY_API_KEY", "PPLX_API_KEY"], &[bearer("api.perplexity.ai")],
        "https://docs.perplexity.ai/api-reference"),
    row("Cerebras", &["CEREBRAS_API_KEY"], &[bearer("api.cerebras.ai")],
        "https://inference-docs.cerebras.ai/api-reference/authentication"),
    row("Hugging Face", &["HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HUGGINGFACE_API_KEY"],
        &[bearer("huggingface.co"), bearer("router.huggingface.co"), bearer("api-inference.huggingface.co")],
        "https://huggingface.co/docs/hub/security-tokens"),
    row("Replicate", &["REPLICATE_API_TOKEN"], &[bearer("api.replicate.com")],
        "https://replicate.com/docs/reference/http"),
    row("Voyage", &["VOYAGE_API_KEY"], &[bearer("api.voyageai.com")],
        "https://docs.voyageai.com/reference/embeddings-api"),
    row("ElevenLabs", &["ELEVENLABS_API_KEY"], &[raw("api.elevenlabs.io", "xi-api-key")],
        "https://elevenlabs.io/docs/api-reference/authentication"),
    // Search.
    row("Brave Search", &["BRAVE_API_KEY"], &[raw("api.search.brave.com", "x-subscription-token")],
        "https://api-dashboard.search.brave.com/app/documentation"),
    row("Tavily", &["TAVILY_API_KEY"], &[bearer("api.tavily.com")],
        "https://docs.tavily.com/documentation/api-reference/introduction"),
    // Code and packages. Git asks for a password, and takes a token as one.
    row("GitHub", &["GITHUB_TOKEN", "GH_TOKEN"],
        &[bearer("api.github.com"), bearer("uploads.github.com"), bearer("raw.githubusercontent.com"),
          Host("github.com", AUTHORIZATION, Shape::Basic("x-access-token"))],
        "https://docs.github.com/en/rest/authentication/authenticating-to-the-rest-api"),
    row("GitLab", &["GITLAB_TOKEN"], &[raw("gitlab.com", "private-token")],
        "https://docs.gitlab.com/api/rest/authentication/"),
    row("npm", &["NPM_TOKEN", "NODE_AUTH_TOKEN"], &[bearer("registry.npmjs.org")],
        "https://docs.npmjs.com/about-access-tokens"),
    row("PyPI", &["PYPI_TOKEN", "PYPI_API_TOKEN"],
        &[Host("upload.pypi.org", AUTHORIZATION, Shape::Basic("__token__"))],
        "https://pypi.org/help/#apitoken"),
    row("crates.io", &["CARGO_REGISTRY_TOKEN"], &[raw("crates.io", AUTHORIZATION)],
        "https://doc.rust-lang.org/cargo/reference/registry-web-api.html"),
    // Tools.
    row("Linear", &["LINEAR_API_KEY"], &[raw("api.linear.app", AUTHORIZATION)],
        "https://linear.app/developers/graphql"),
    row("Notion", &["NOTION_TOKEN", "NOTION_API_KEY"], &[bearer("api.notion.com")],
        "https://developers.notion.com/reference/authentication"),
    row("Slack", &["SLACK_BOT_TOKEN", "SLACK_TOKEN"], &[bearer("slack.com")],
        "https://docs.slack.dev/apis/web-api/"),
    row("Sentry", &["SENTRY_AUTH_TOKEN"], &[bearer("sentry.io"), bearer("*.sentry.io")],
        "https://docs.sentry.io/api/auth/"),
    row("Stripe", &["STRIPE_SECRET_KEY", "STRIPE_API_KEY"], &[bearer("api.stripe.com")],
        "https://docs.stripe.com/api/authentication"),
    row("Cloudflare", &["CLOUDFLARE_API_TOKEN"], &[bearer("api.cloudflare.com")],
        "https://developers.cloudflare.com/fundamentals/api/get-started/create-token/"),
    row("DigitalOcean", &["DIGITALOCEAN_ACCESS_TOKEN", "DIGITALOCEAN_TOKEN"], &[bearer("api.digitalocean.com")],
        "https://docs.digitalocean.com/reference/api/"),
    row("Vercel", &["VERCEL_TOKEN"], &[bearer("api.vercel.com")], "https://vercel.com/docs/rest-api"),
    row("Fly.io", &["FLY_API_TOKEN"], &[bearer("api.machines.dev")],
        "https://fly.io/docs/machines/api/working-with-machines-api/"),
    row("Supabase", &["SUPABASE_ACCESS_TOKEN"], &[bearer("api.supabase.com")],
        "https://supabase.com/docs/reference/api/introduction"),
];

#[cfg(test)]
#[path = "provider_tests.rs"]
mod tests;
