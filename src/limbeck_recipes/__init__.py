"""Ready specifications, found by name: `limbeck distill mnist` calls `limbeck_recipes.mnist.mnist`."""
