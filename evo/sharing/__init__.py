"""Groups that share: campaigns that are merged, pushed and pulled."""
