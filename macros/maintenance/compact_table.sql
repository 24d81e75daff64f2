{#- OPTIMIZE of one table. Liquid clustering rewrites whatever it has not settled yet, by default
    everything below 100 GB, again and again; at 256 MiB the cost follows what is new. `full`
    clusters the settled part too, which only a clustered table knows. -#}
{%- macro compact_table(relation, full=false) -%}
    {%- do run_query(
        'set spark.databricks.delta.optimize.clustering.mergeStrategy.minCubeSize.threshold = '
        ~ 256 * 1024 * 1024
    ) -%}
    {%- do run_query('optimize ' ~ relation ~ (' full' if full else '')) -%}
{%- endmacro -%}
