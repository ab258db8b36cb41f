//! The client library of crates.io against a server: everything that the reference implementation documents for it.

use agentkernel_sdk::{
    AgentKernel, BatchCommand, CreateSandboxOptions, Error, ExecOptions, RunOptions, SecurityProfile,
};
use std::collections::HashMap;

type Outcome<T = ()> = Result<T, Error>;

fn host() -> Option<RunOptions> {
    Some(RunOptions { image: Some("host".to_owned()), ..RunOptions::default() })
}

fn sandbox() -> Option<CreateSandboxOptions> {
    Some(CreateSandboxOptions {
        image: Some("host".to_owned()),
        // Not every user's limits can be enforced.
        memory_mb: std::env::var_os("LIMITS").map(|_| 256),
        profile: Some(SecurityProfile::Moderate),
        ..CreateSandboxOptions::default()
    })
}

async fn commands(client: &AgentKernel) -> Outcome {
    assert_eq!(client.health().await?, "ok");
    assert_eq!(client.run(&["echo", "hello"], None).await?.output, "hello\n");
    assert_eq!(client.run(&["echo", "hello"], host()).await?.output, "hello\n");
    let failed = client.run(&["sh", "-c", "exit 3"], host()).await.unwrap_err();
    assert!(failed.to_string().contains("code 3"), "{failed}");
    let wrong = AgentKernel::builder().api_key("wrong").build()?;
    assert!(matches!(wrong.list_sandboxes().await, Err(Error::Auth(_))));
    let command = |words: &[&str]| BatchCommand { command: words.iter().map(|word| (*word).to_owned()).collect() };
    let batch = client.batch_run(vec![command(&["echo", "1"]), command(&["sh", "-c", "exit 2"])]).await?;
    assert_eq!(batch.results[0].output.as_deref(), Some("1\n"));
    assert!(batch.results[1].error.as_deref().unwrap().contains("code 2"));
    Ok(())
}

async fn sandboxes(client: &AgentKernel) -> Outcome {
    const NAME: &str = "of-rust";
    let made = client.create_sandbox(NAME, sandbox()).await?;
    assert_eq!((made.name.as_str(), made.status.as_str()), (NAME, "running"));
    assert!(made.memory_mb.is_some() && made.vcpus.is_some());
    assert_eq!(client.list_sandboxes().await?.len(), 1);
    assert_eq!(client.get_sandbox(NAME).await?.uuid, made.uuid);
    assert_eq!(client.get_sandbox_by_uuid(made.uuid.as_deref().unwrap()).await?.name, NAME);
    let options = ExecOptions { env: vec!["A=b".to_owned()], workdir: Some("/tmp".to_owned()), sudo: None };
    let said = client.exec_in_sandbox(NAME, &["sh", "-c", "echo $A; pwd"], Some(options)).await?;
    assert_eq!(said.output, "b\n/tmp\n");
    files(client, NAME).await?;
    detached(client, NAME).await?;
    assert!(!client.get_sandbox_logs(NAME).await?.is_empty());
    client.remove_sandbox(NAME).await?;
    assert!(matches!(client.get_sandbox(NAME).await, Err(Error::NotFound(_))));

    let said = client.with_sandbox("session", sandbox(), |session| async move {
        session.run(&["echo", "in"]).await.map(|said| said.output)
    });
    assert_eq!(said.await?, "in\n");
    assert!(client.list_sandboxes().await?.is_empty());
    assert!(client.get_backends().await?.default_backend.is_some());
    Ok(())
}

async fn files(client: &AgentKernel, name: &str) -> Outcome {
    client.write_file(name, "/tmp/note.txt", "héllo", None).await?;
    for path in ["/tmp/note.txt", "tmp/note.txt"] {
        let read = client.read_file(name, path).await?;
        assert_eq!((read.content.as_str(), read.encoding.as_str(), read.size), ("héllo", "utf8", 6));
    }
    client.write_file(name, "tmp/bytes", "//4=", Some("base64")).await?;
    assert_eq!(client.read_file(name, "tmp/bytes").await?.encoding, "base64");
    let two = HashMap::from([("/tmp/a", "1"), ("/tmp/b", "2")].map(|(k, v)| (k.to_owned(), v.to_owned())));
    assert_eq!(client.write_files(name, two).await?.written, 2);
    client.delete_file(name, "/tmp/note.txt").await?;
    assert!(matches!(client.read_file(name, "/tmp/note.txt").await, Err(Error::NotFound(_))));
    Ok(())
}

async fn detached(client: &AgentKernel, name: &str) -> Outcome {
    let long = client.exec_detached(name, &["sh", "-c", "echo out; sleep 300"], None).await?;
    client.detached_status(name, &long.id).await?;
    client.detached_kill(name, &long.id).await?;
    client.detached_logs(name, &long.id, Some("stderr")).await?;
    assert_eq!(client.detached_list(name).await?.len(), 1);
    Ok(())
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Outcome {
    let client = AgentKernel::builder().build()?;
    commands(&client).await?;
    sandboxes(&client).await?;
    println!("all of it works");
    Ok(())
}
