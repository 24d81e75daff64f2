{#- OPTIMIZE of one table. Liquid clustering rewrites whatever it has not settled yet, by default
    everything below 100 GB, again and again; what is settled at 128 MiB costs nothing any more.
    `full`, the second round: 1 GiB, and a clustered table is clustered anew where its columns
    have changed. -#}
{%- macro compact_table(relation, full=false) -%}
    {%- set settled_bytes = (1024 if full else 128) * 1024 * 1024 -%}
    {%- do run_query(
        'set spark.databricks.delta.optimize.clustering.mergeStrategy.minCubeSize.threshold = '
        ~ settled_bytes
    ) -%}
    {#- The number of files is rounded down, so none is smaller than this. -#}
    {%- do run_query('set spark.databricks.delta.optimize.maxFileSize = ' ~ settled_bytes) -%}
    {%- set statement = 'optimize ' ~ relation ~ (' full' if full else '') -%}
    {%- do run_query(retry_conflicts('execute immediate ' ~ sql_string(statement))) -%}
{%- endmacro -%}
