// The work as handlers of Restate, from nothing that is kept to the write of the other contenders.
const restate = require("@restatedev/restate-sdk");

const answer = { id: 7, balance: 100 };

const plain = restate.service({
  name: "Plain",
  handlers: {
    nothing: async () => answer,
    step: async (context) => context.run("work", () => answer),
  },
});

// An object for each account.
const account = restate.object({
  name: "Account",
  handlers: {
    write: async (context, amount) => {
      const balance = ((await context.get("balance")) ?? 0) + amount;
      context.set("balance", balance);
      return { id: 7, balance };
    },
  },
});

restate.serve({ services: [plain, account], port: Number(process.env.HANDLER_PORT) });
