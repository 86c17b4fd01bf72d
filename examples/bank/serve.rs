//! `bank serve`: one server, as a process of its own.

use bank_business::{BankServer, BankService};
use rpc::{Server, ServerConfig};

use crate::cli::ServeArgs;
use crate::failure::Failure;
use crate::place::{open_directory, open_shared};
use crate::tls;

/// Serves until ctrl-c, then lets running calls finish.
pub(crate) async fn serve(args: &ServeArgs) -> Result<(), Failure> {
    if args.verbose {
        tracing_subscriber::fmt()
            .with_max_level(tracing_subscriber::filter::LevelFilter::DEBUG)
            .with_writer(std::io::stderr)
            .init();
    }
    let opened = match (&args.store, &args.data) {
        (Some(url), _) => open_shared(url).await?,
        (None, Some(data)) => open_directory(data)?,
        (None, None) => {
            return Err(Failure::unusable("say where the data lies: --data or --store"));
        }
    };
    let server = Server::builder(BankServer::new(BankService), opened.store).config(config(args));
    let server = tls::listen(server, args.listen, args.tls.files()).await?;
    println!(
        "serving the bank on {}, data in {}; ctrl-c stops it",
        server.local_addr(),
        opened.name
    );
    server.serve_with_shutdown(ctrl_c()).await;
    println!("stopped; the data stays in {}", opened.name);
    Ok(())
}

fn config(args: &ServeArgs) -> ServerConfig {
    ServerConfig::default()
        .shutdown_limit(args.grace)
        .idle_timeout(args.idle)
        .detached_ttl(args.detached)
}

/// The first ctrl-c. From then on a second one ends the process.
async fn ctrl_c() {
    if let Err(error) = tokio::signal::ctrl_c().await {
        eprintln!("ctrl-c cannot be heard ({error}): end the process to stop the server");
        return std::future::pending().await;
    }
    eprintln!("finishing running calls; ctrl-c again ends at once");
    tokio::spawn(async {
        if tokio::signal::ctrl_c().await.is_ok() {
            std::process::exit(130);
        }
    });
}
