"""The gRPC admin contract: `.proto` files and the code generated from them (`make proto`)."""
